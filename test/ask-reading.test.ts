/** @file What an answer is read from: computed once for all who read it, and given back. */

import { cpSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { DiffsightError } from "../src/tensor/index.js";
import { type Answer, LanguageModel, VisionLanguageModel } from "../src/vlm/index.js";
import { Context } from "../src/vlm/language/index.js";
import { temporaryFolder } from "./cli.js";
import { goldenPath } from "./golden.js";

const llava = goldenPath("pipeline-llava");
const picture = path.join(llava, "images", "q.png");
const open = (at = llava, options = {}) =>
  VisionLanguageModel.fromPretrained(at, { threads: 1, device: "cpu", host: "here", ...options });

afterEach(() => vi.restoreAllMocks());

async function piecesOf(answer: Answer): Promise<string[]> {
  const pieces: string[] = [];
  for await (const piece of answer) pieces.push(piece);
  return pieces;
}

/** Contexts that were read and have not been released. */
function heldContexts(): () => number {
  const held = new Set<Context>();
  const { readBatch } = LanguageModel.prototype;
  vi.spyOn(LanguageModel.prototype, "readBatch").mockImplementation(async function (
    this: LanguageModel,
    ...args
  ) {
    const contexts = await readBatch.apply(this, args);
    for (const context of contexts) held.add(context);
    return contexts;
  });
  const { release } = Context.prototype;
  vi.spyOn(Context.prototype, "release").mockImplementation(function (this: Context) {
    held.delete(this);
    release.call(this);
  });
  return () => held.size;
}

/** A small picture whose pixels no other number gives. */
const numbered = (number: number) => ({
  width: 4,
  height: 4,
  channels: 3 as const,
  data: Uint8Array.from({ length: 48 }, (_, i) => (7 * i + 13 * number) % 256),
});

describe("an answer", () => {
  const options = { maxTokens: 6, ignoreEos: true };

  it("is computed once, however often and by whomever it is read", async () => {
    await using model = await open();
    const generate = vi.spyOn(LanguageModel.prototype, "generate");
    const answer = model.ask(picture, "What?", options);
    const [one, other] = await Promise.all([answer.whole(), piecesOf(answer)]);
    const { ids } = answer;
    expect(ids).toHaveLength(6);
    expect(other.join("")).toBe(one);
    expect(await answer.whole()).toBe(one);
    expect(await piecesOf(answer)).toEqual(other);
    expect([answer.text, answer.ids, answer.finish]).toEqual([one, ids, "length"]);
    expect(generate).toHaveBeenCalledTimes(1);
  });

  it("that was left early is read on from its beginning, and said once", async () => {
    await using model = await open();
    const whole = await model.ask(picture, "What?", options).whole();
    const held = heldContexts();
    const answer = model.ask(picture, "What?", options);
    let first = "";
    for await (const piece of answer) {
      first = piece;
      break;
    }
    expect([answer.text, answer.finish]).toEqual([first, undefined]);
    expect(held()).toBe(0);
    expect((await piecesOf(answer)).join("")).toBe(whole);
    expect(await answer.whole()).toBe(whole);
    expect(answer.ids).toHaveLength(6);
  });

  it("that failed can be asked for again", async () => {
    await using model = await open();
    const answer = model.ask(picture, "What?", options);
    vi.spyOn(LanguageModel.prototype, "readBatch").mockRejectedValueOnce(new DiffsightError("TEST", "No."));
    await expect(Promise.all([answer.whole(), answer.whole()])).rejects.toThrow("No.");
    expect(await answer.whole()).toBe(answer.text);
    expect(answer.ids).toHaveLength(6);
  });

  it("gives back what was read when its options are refused", async () => {
    await using model = await open();
    const held = heldContexts();
    await expect(model.ask([], "What?", { temperature: -1 }).whole()).rejects.toThrow("temperature");
    expect(held()).toBe(0);
  });

  it("says when the language model has no more positions", async () => {
    await using model = await open();
    const answer = model.ask([], "why? ".repeat(70), { maxTokens: 200, ignoreEos: true });
    await answer.whole();
    expect([answer.finish, answer.outOfPositions]).toEqual(["length", true]);
    const short = model.ask([], "why?", { maxTokens: 2, ignoreEos: true });
    await short.whole();
    expect([short.finish, short.outOfPositions]).toEqual(["length", false]);
  });
});

describe("questions about one picture at the same time", () => {
  it("read it once and leave nothing behind", async () => {
    await using model = await open();
    const held = heldContexts();
    for (const together of [1, 3]) {
      for (let number = 0; number < 7; number++) {
        const asked = Array.from({ length: together }, () =>
          model.ask(numbered(100 * together + number), "What?", { maxTokens: 1 }).whole(),
        );
        expect(new Set(await Promise.all(asked)).size).toBe(1);
      }
      expect(held()).toBe(5);
    }
  });

  it("do not share the end of one that is cancelled, nor a failure with later ones", async () => {
    await using model = await open();
    const left = new AbortController();
    const first = model.ask(picture, "What?", { maxTokens: 1, signal: left.signal }).whole();
    const second = model.ask(picture, "What?", { maxTokens: 1 }).whole();
    left.abort();
    await expect(first).rejects.toMatchObject({ code: "ABORTED" });
    await second;
    vi.spyOn(LanguageModel.prototype, "readBatch").mockRejectedValueOnce(new DiffsightError("TEST", "No."));
    const other = () => model.ask(numbered(1), "What?", { maxTokens: 1 }).whole();
    await expect(other()).rejects.toThrow("No.");
    await other();
  });
});

describe("a LLaVA of transformers'", () => {
  it("reads the prompt as one text with the tokenizer's own token of a picture", async () => {
    const at = path.join(temporaryFolder(), "first");
    cpSync(llava, at, { recursive: true });
    const file = path.join(at, "tokenizer.json");
    const json = JSON.parse(readFileSync(file, "utf8"));
    json.normalizer = null;
    json.pre_tokenizer = { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false };
    writeFileSync(file, JSON.stringify(json));
    await using model = await open(at, { template: "mistral_instruct" });
    const readBatch = vi.spyOn(LanguageModel.prototype, "readBatch");
    await model.ask(picture, "What?", { maxTokens: 1 }).whole();
    const after = readBatch.mock.calls.at(-1)![0];
    // "\nWhat? [/INST]" with no space before the line's end.
    expect(after).toEqual([[[569, 315, 281, 554, 531, 94, 50, 558, 81, 618, 574, 96]]]);
  });

  it("refuses a template that would leave the question out", async () => {
    await using model = await open(llava, { template: "plain" });
    await expect(model.ask(picture, "What?").whole()).rejects.toMatchObject({ code: "TEMPLATE" });
    await expect(model.ask(picture, "What?").whole()).rejects.toThrow(/plain .* leave out the question/);
    expect(typeof (await model.ask(picture, "<image>", { maxTokens: 1 }).whole())).toBe("string");
  });
});
