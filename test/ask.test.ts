/** @file Questions about pictures: LLaVA as transformers answers, folders with diffsight.json, and the command. */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { clipLayout, initialise, llamaLayout } from "../src/models/index.js";
import { encodeSafetensors, TorchGenerator } from "../src/tensor/index.js";
import { parseDescription, planSight, VisionLanguageModel, writeDescription } from "../src/vlm/index.js";
import { run } from "./cli.js";
import { Golden, goldenPath } from "./golden.js";

const golden = new Golden("pipeline-llava");
const llava = goldenPath("pipeline-llava");
const imageOf = (name: string) => path.join(llava, "images", name);

interface Args {
  image: string;
  fit: "crop" | "pad";
  turns: string[];
  new_token_ids: number[];
  text: string;
}

const cases = golden.cases.map((one) => ({ name: one.name, ...(one.args as unknown as Args) }));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "diffsight-ask-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a LLaVA of transformers'", () => {
  it.each(cases)("$name: $image, $turns", async ({ image, fit, turns, new_token_ids, text }) => {
    await using model = await VisionLanguageModel.fromPretrained(llava, { fit });
    const spoken = turns.map((said, i) => ({
      role: i % 2 === 0 ? ("user" as const) : ("assistant" as const),
      text: i === 0 ? `<image>\n${said}` : said,
    }));
    const answer = model.answer(spoken, [imageOf(image)], { maxTokens: new_token_ids.length });
    const pieces: string[] = [];
    for await (const piece of answer) pieces.push(piece);
    expect(answer.ids).toEqual(new_token_ids);
    expect(answer.text).toBe(text);
    expect(pieces.join("")).toBe(text);
    expect(answer.finish).toBe("length");
  });

  it("answers alike whatever was asked before", async () => {
    const [first, second] = cases as [(typeof cases)[0], (typeof cases)[0]];
    await using model = await VisionLanguageModel.fromPretrained(llava, { fit: "crop" });
    const ask = (image: string, question: string) =>
      model.ask(imageOf(image), question, { maxTokens: 12 }).whole();
    await ask(first.image, "Something else?");
    expect(await ask(first.image, first.turns[0]!)).toBe(first.text);
    expect(await ask(second.image, second.turns[0]!)).toBe(second.text);
    expect(await ask(first.image, first.turns[0]!)).toBe(first.text);
  });

  it("refuses what it cannot answer", async () => {
    await using model = await VisionLanguageModel.fromPretrained(llava);
    const ask = (images: string[], question: string) => model.ask(images, question, { maxTokens: 1 }).whole();
    expect(() => model.ask([], " ")).toThrow("The question is empty.");
    await expect(ask([imageOf("q.png")], "<image> or <image>?")).rejects.toThrow(
      "1 pictures were given, 2 are named in the text.",
    );
    await expect(ask([imageOf("q.png")], "why? ".repeat(20_000))).rejects.toMatchObject({
      code: "CONTEXT_LENGTH",
    });
    await expect(ask([imageOf("none.png")], "What?")).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await expect(VisionLanguageModel.fromPretrained(llava, { template: "loud" })).rejects.toThrow(
      "vicuna_v1",
    );
  });
});

/** A folder with diffsight.json, of networks that have learned nothing. */
async function writeModel(name: string, fusion: object | undefined): Promise<string> {
  const at = path.join(folder, name);
  const write = async (file: string, content: string | Uint8Array) => {
    await mkdir(path.dirname(path.join(at, file)), { recursive: true });
    await writeFile(path.join(at, file), content);
  };
  const tower = { hidden_size: 16, intermediate_size: 32, num_attention_heads: 2, num_hidden_layers: 2 };
  const clip = {
    model_type: "clip",
    projection_dim: 8,
    text_config: { ...tower, vocab_size: 20, max_position_embeddings: 8 },
    vision_config: { ...tower, image_size: 64, patch_size: 8 },
  };
  const preprocessor = { size: { shortest_edge: 64 }, crop_size: { height: 64, width: 64 } };
  await write("clip/config.json", JSON.stringify(clip));
  await write("clip/preprocessor_config.json", JSON.stringify(preprocessor));
  const random = new TorchGenerator(0);
  await write("clip/model.safetensors", encodeSafetensors(initialise(clipLayout(clip), random)));

  const own = JSON.parse(readFileSync(path.join(llava, "config.json"), "utf8")).text_config;
  await write("language/config.json", JSON.stringify(own));
  await write("language/model.safetensors", encodeSafetensors(initialise(llamaLayout(own), random)));
  for (const file of ["tokenizer.json", "tokenizer_config.json"])
    await write(`language/${file}`, readFileSync(path.join(llava, file)));

  const sd = {
    kind: "diffusion",
    model: fileURLToPath(new URL("../assets/micro/sd", import.meta.url)),
    fit: "squash",
  };
  const description = parseDescription({
    encoders: {
      clip: { kind: "vision", model: "./clip", fit: "squash" },
      ...(fusion && { sd }),
    },
    ...(fusion && { fusion }),
    projector: "linear",
    language: { model: "./language" },
  });
  await writeDescription(at, description);
  const shapes = {
    clip: { tokens: 64, width: 16, grid: [8, 8] as const },
    ...(fusion && { sd: { tokens: 64, width: 64, grid: [8, 8] as const } }),
  };
  const { layout } = planSight(description, shapes, own.hidden_size);
  // The same projector whatever the fusion.
  const isProjector = ({ key }: { key: string }) => key.startsWith("model.");
  const parts = [layout.filter(isProjector), layout.filter((one) => !isProjector(one))];
  const weights = new Map(parts.flatMap((part, i) => [...initialise(part, new TorchGenerator(1 + i))]));
  await write("model.safetensors", encodeSafetensors(weights));
  return at;
}

const picture = imageOf("r.png");
const ask = async (at: string, question: string) => {
  await using model = await VisionLanguageModel.fromPretrained(at);
  const answer = model.ask(picture, question, { maxTokens: 8 });
  await answer.whole();
  return answer.ids;
};

describe("a folder with diffsight.json", () => {
  it("sees with CLIP and diffusion, steered by the question", async () => {
    const at = await writeModel("concat", { type: "token-concat", encoders: ["clip", "sd"] }).catch(
      (error: unknown) => error,
    );
    // Token concatenation wants tokens of one width.
    expect(at).toMatchObject({ code: "FUSION" });
    const crossed = await writeModel("cross", { type: "cross-attention", queries: "clip", context: "sd" });
    expect(await ask(crossed, "Is the red dog left?")).toHaveLength(8);
    expect(await ask(crossed, "Is the red dog left?")).toEqual(await ask(crossed, "Is the red dog left?"));
  });

  it("sees with CLIP alone where a gate is still shut", async () => {
    const gated = await writeModel("gated", {
      type: "gated-cross-attention",
      queries: "clip",
      context: "sd",
    });
    const alone = await writeModel("alone", undefined);
    expect(await ask(gated, "What?")).toEqual(await ask(alone, "What?"));
    expect(await ask(gated, "What?")).toHaveLength(8);
  });
});

describe("diffsight ask", () => {
  const [first] = cases as [(typeof cases)[0]];
  const flags = ["-m", llava, "--max-tokens", String(first.new_token_ids.length)];

  it("streams an answer, or tells it as JSON", async () => {
    const streamed = await run(["ask", imageOf(first.image), first.turns[0]!, ...flags]);
    expect(streamed).toMatchObject({ status: 0, stdout: `${first.text.trimStart()}\n` });
    const { stdout } = await run(["ask", imageOf(first.image), first.turns[0]!, ...flags, "--json"]);
    expect(JSON.parse(stdout)).toEqual({
      answer: first.text.trim(),
      tokens: first.new_token_ids.length,
      finish: "length",
    });
  });

  it.each([
    [["ask", "a.png"], "A question is missing"],
    [["ask", "a.png", "What?"], "--model is missing"],
    [["ask", "a.png", "What?", "-m", llava, "--temperature", "-1"], "temperature must be 0 or more, not -1."],
  ])("refuses %j", async (args, message) => {
    const { status, stderr } = await run(args.map((arg) => (arg === "a.png" ? picture : arg)));
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });
});
