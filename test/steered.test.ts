/** @file What steers a vision-language model with diffusion: what is computed again, and what is not. */

import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { Program } from "../src/engine/index.js";
import { type Asked, VisionLanguageModel } from "../src/vlm/index.js";
import { temporaryFolder } from "./cli.js";
import { writeVlmFolder } from "./vlm-folder.js";

const folder = temporaryFolder();
const picture = fileURLToPath(new URL("../assets/scenes/box.png", import.meta.url));
const question = "Is the box red?";

let model: VisionLanguageModel;
beforeAll(async () => {
  const fusion = { type: "cross-attention", queries: "clip", context: "sd", normalisation: "none" };
  const at = await writeVlmFolder(path.join(folder, "crossed"), { fusion });
  model = await VisionLanguageModel.fromPretrained(at, { threads: 1, device: "cpu" });
});
afterAll(() => model.release());
afterEach(() => void vi.restoreAllMocks());

/** How often each program runs, by its first output; of the language model, rows that it reads. */
function counted(): Record<string, number> {
  const runs: Record<string, number> = {};
  const run = Program.prototype.run;
  vi.spyOn(Program.prototype, "run").mockImplementation(function (this: Program, feeds, options) {
    const { name } = this.outputs.find(({ name }) => !name.startsWith("new."))!;
    runs[name] = (runs[name] ?? 0) + (name === "logits" ? feeds.ids!.dims[1]! : 1);
    return run.call(this, feeds, options);
  });
  return runs;
}

const tap = "up-level1-repeat1-vit-block0-cross-q";
const asked = (diffusion?: Asked["diffusion"]): Asked => ({
  turns: [{ role: "user", text: `<image>\n${question}` }],
  images: [picture],
  ...(diffusion && { diffusion }),
});
const answers = (...all: readonly (Asked["diffusion"] | undefined)[]) =>
  model.answerBatch(all.map(asked), { maxTokens: 6 });
const scores = (...all: readonly (Asked["diffusion"] | undefined)[]) =>
  model.score(all.map((diffusion) => ({ ...asked(diffusion), answer: "a red box" })));

describe("a second question about a picture", () => {
  it("runs neither CLIP nor the VAE nor the unconditional pass again", async () => {
    const runs = counted();
    await model.ask(picture, question, { maxTokens: 1 }).whole();
    // The unconditional pass and the conditional one, of the empty text and of the question.
    expect(runs).toMatchObject({ tokens: 1, mean: 1, cut0: 1, [tap]: 2, states: 2, rows: 1 });

    for (const name of Object.keys(runs)) delete runs[name];
    await model.ask(picture, "Where is the ball?", { maxTokens: 1 }).whole();
    expect(Object.keys(runs).sort()).toEqual(["logits", "rows", "states", tap].sort());
    expect(runs).toMatchObject({ [tap]: 1, states: 1, rows: 1 });
  });

  it("reads its own words alone where the picture is seen alike", async () => {
    const diffusion = { prompt: "" };
    await model.ask(picture, question, { maxTokens: 1, diffusion }).whole();
    const runs = counted();
    await model.ask(picture, "Where is the ball?", { maxTokens: 1, diffusion }).whole();
    expect(Object.keys(runs)).toEqual(["logits"]);
    expect(runs.logits).toBeLessThan(40);
  });

  it("at another guidance costs no pass", async () => {
    await model.ask(picture, question, { maxTokens: 1 }).whole();
    const runs = counted();
    await model
      .ask(picture, question, { maxTokens: 1, diffusion: { prompt: question, guidance: 7 } })
      .whole();
    expect(Object.keys(runs).sort()).toEqual(["logits", "rows"]);
  });
});

describe("a text that diffusion is told", () => {
  it("takes the place of the question, in the layers that hear it", async () => {
    const [own, same, others, none, deaf] = await scores(
      undefined,
      { prompt: question },
      { prompt: "a green cat in the park" },
      { prompt: "" },
      { prompt: question, textLayers: [] },
    );
    expect(own!.logProbability).toBeCloseTo(same!.logProbability, 4);
    expect(deaf!.logProbability).toBeCloseTo(none!.logProbability, 4);
    for (const one of [others, none])
      expect(Math.abs(one!.logProbability - own!.logProbability)).toBeGreaterThan(1e-3);
    const [up, down] = await scores(
      { prompt: question, textLayers: ["up"] },
      { prompt: question, textLayers: ["down"] },
    );
    expect(new Set([up, down, own].map((one) => one!.logProbability)).size).toBe(3);
  });

  it("stays the question when only its strength is said", () => {
    expect(model.told(question, { diffusion: { guidance: 2 } })).toEqual([
      { encoder: "sd", prompt: question, guidance: 2 },
    ]);
    expect(model.told("", { diffusion: { guidance: 2 } })).toEqual([
      { encoder: "sd", prompt: "", guidance: 0 },
    ]);
  });

  it("is not heard at guidance 0", () => {
    const keys = [{ prompt: question, guidance: 0 }, { prompt: "" }].map((diffusion) =>
      model.steered({ question: "", diffusion }),
    );
    expect(keys[0]).toBe(keys[1]);
  });
});

describe("several questions side by side", () => {
  const told = [undefined, { prompt: "a cat" }, { prompt: "" }];

  it("are answered as each alone", async () => {
    const together = await answers(...told);
    for (const [i, diffusion] of told.entries()) {
      const alone = model.ask(picture, question, { maxTokens: 6, ...(diffusion && { diffusion }) });
      expect(together[i]).toEqual({ text: await alone.whole(), ids: alone.ids, finish: alone.finish });
    }
  });

  it("end at stop texts", async () => {
    const [whole] = await answers(undefined);
    const stop = [whole!.text.slice(2, 4)];
    const [cut] = await model.answerBatch([asked()], { maxTokens: 6, stop });
    expect(cut).toMatchObject({ finish: "stop", text: whole!.text.slice(0, whole!.text.indexOf(stop[0]!)) });
  });

  it("tell how likely answers are", async () => {
    const [first, second] = await scores(undefined, { prompt: "a cat" });
    expect(first!.tokens).toBe(second!.tokens);
    expect(first!.tokens).toBeGreaterThan(3);
    expect(first!.logProbability).toBeLessThan(0);
    const [alone] = await scores({ prompt: "a cat" });
    expect(alone!.logProbability).toBeCloseTo(second!.logProbability, 4);
  });
});

describe("where diffusion looked", () => {
  it("is what the question changed, and where its words look", async () => {
    const [[look]] = (await model.explain(picture, `<image>\n${question}`)) as [[never]];
    expect(look).toMatchObject({ encoder: "sd", prompt: question, guidance: 4 });
    const { delta, words, image } = look as Awaited<ReturnType<typeof model.explain>>[0][0];
    expect(delta.dims).toEqual([8, 8]);
    expect(Math.min(...delta.toFloat32())).toBeGreaterThan(0);
    expect(words.words.map(({ text }) => text)).toEqual(["Is", "the", "box", "red", "?"]);
    expect([image.width, image.height]).toEqual([64, 64]);
  });

  it("is nowhere when it was told nothing", async () => {
    expect(await model.explain(picture, question, { diffusion: { prompt: "" } })).toEqual([[]]);
    expect(model.told(question, { diffusion: { prompt: "" } })).toEqual([
      { encoder: "sd", prompt: "", guidance: 0 },
    ]);
    expect(model.told(question)).toEqual([{ encoder: "sd", prompt: question, guidance: 4 }]);
  });
});
