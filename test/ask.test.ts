/** @file Questions about pictures: LLaVA as transformers answers, folders with diffsight.json, and the command. */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { VisionLanguageModel } from "../src/vlm/index.js";
import { root, run } from "./cli.js";
import { Golden, goldenPath } from "./golden.js";
import { writeVlmFolder } from "./vlm-folder.js";

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

/** transformers' own answers to the first two questions, with these fields in the folder's files. */
describe.each([
  [
    "positions that go by the text's length",
    { text_config: { max_position_embeddings: 24, rope_scaling: { rope_type: "dynamic", factor: 2 } } },
    {},
    [
      [183, 572, 468, 387, 213, 506, 30, 160, 506, 571, 346, 102],
      [183, 572, 468, 387, 213, 617, 298, 465, 616, 6, 155, 160],
    ],
  ],
  [
    "positions of two kinds",
    {
      text_config: {
        rope_scaling: {
          rope_type: "longrope",
          original_max_position_embeddings: 40,
          short_factor: [1, 1.1, 1.2, 1.3],
          long_factor: [1, 3, 7, 19],
        },
      },
    },
    {},
    [
      [183, 176, 346, 347, 566, 165, 580, 158, 59, 44, 213, 317],
      [183, 176, 346, 135, 566, 219, 607, 384, 526, 527, 44, 249],
    ],
  ],
  [
    "a repetition penalty and no end",
    {},
    { repetition_penalty: 1.5, eos_token_id: -1 },
    [
      [183, 572, 468, 387, 213, 506, 30, 364, 607, 384, 432, 424],
      [183, 572, 468, 387, 213, 617, 338, 397, 242, 243, 135, 30],
    ],
  ],
])("a LLaVA with %s", (name, config, generation, expected) => {
  it("answers as transformers does, one question after another", async () => {
    const at = path.join(folder, name);
    cpSync(llava, at, { recursive: true });
    const change = (file: string, fields: Record<string, unknown>) => {
      const json = JSON.parse(readFileSync(path.join(at, file), "utf8"));
      const text = json.text_config && {
        text_config: { ...json.text_config, ...(fields.text_config as object) },
      };
      writeFileSync(path.join(at, file), JSON.stringify({ ...json, ...fields, ...text }));
    };
    change("config.json", config);
    change("generation_config.json", generation);
    await using model = await VisionLanguageModel.fromPretrained(at, { fit: "crop" });
    for (const [i, ids] of [...expected, ...expected].entries()) {
      const { image, turns } = cases[i % 2]!;
      const answer = model.ask(imageOf(image), turns[0]!, { maxTokens: 12 });
      await answer.whole();
      expect(answer.ids).toEqual(ids);
    }
  });
});

const writeModel = (name: string, fusion: object | undefined) =>
  writeVlmFolder(path.join(folder, name), { fusion });

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

  it("goes on with a conversation of which one turn failed, and says so at its end", async () => {
    const lines = ["What?", "why? ".repeat(600), "And the <image>?", "And now?", ""].join("\n");
    const flags = ["-m", llava, "--interactive", "--max-tokens", "2", "--ignore-eos"];
    const found = await run(["ask", picture, ...flags], { input: Buffer.from(lines) });
    expect(found.status).toBe(2);
    expect(found.stdout.split("\n")).toHaveLength(3);
    expect(found.stderr).toMatch(/diffsight: The question is too long/);
    expect(found.stderr).toMatch(/diffsight: 1 pictures were given, 2 are named/);
    const without = await run(["ask", picture, ...flags], { input: Buffer.from("What?\nAnd now?\n") });
    expect(without).toMatchObject({ status: 0, stdout: found.stdout });
  });

  it("says when the language model has no more positions", async () => {
    const asked = ["ask", picture, "why? ".repeat(55), "-m", llava, "--max-tokens", "200", "--ignore-eos"];
    const { status, stderr } = await run(asked);
    expect(status).toBe(0);
    expect(stderr).toContain("the language model has no more positions");
  });

  it("answers by the package's own model where none is named, in any case of letters", async () => {
    const own = path.join(root, "assets/scenes/ball-rabbit.png");
    const said = async (question: string) => {
      const { status, stdout, stderr } = await run(["ask", own, question]);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      return stdout.trim();
    };
    const answer = await said("which way is the rabbit facing? left or right?");
    expect(["left", "right"]).toContain(answer);
    expect(await said("Which way is the RABBIT facing? Left or right?")).toBe(answer);
    expect(["yes", "no"]).toContain(await said("Is the rabbit facing left?"));
  });

  it.each([
    [["ask", "a.png"], "A question is missing"],
    [["ask", "a.png", "What?", "-m", llava, "--template", "plain"], "would leave out the question"],
    [["ask", "a.png", "What?", "-m", llava, "--temperature", "-1"], "temperature must be 0 or more, not -1."],
  ])("refuses %j", async (args, message) => {
    const { status, stderr } = await run(args.map((arg) => (arg === "a.png" ? picture : arg)));
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });
});
