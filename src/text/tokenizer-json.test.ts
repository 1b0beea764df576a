/** @file tokenizer.json: what is refused, and broken files. */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DiffsightError } from "../tensor/index.js";
import { readTokenizer } from "./tokenizer-files.js";
import { wordVocabulary } from "./word-vocabulary.js";

const json = JSON.parse(wordVocabulary(["dog"])["tokenizer.json"]);
json.pre_tokenizer = {
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: "\\s+" }, behavior: "Isolated", invert: false },
    { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: true },
  ],
};
const read = (tokenizer: unknown) => readTokenizer({ "tokenizer.json": JSON.stringify(tokenizer) });

describe("tokenizer.json", () => {
  it.each<[string, object, RegExp]>([
    [
      "another model",
      { model: { type: "WordPiece", vocab: { a: 0 } } },
      /model of type "WordPiece".*known: BPE, Unigram/,
    ],
    ["CLIP's suffix", { model: { ...json.model, end_of_word_suffix: "</w>" } }, /end_of_word_suffix "<\/w>"/],
    ["an unknown normalizer", { normalizer: { type: "Nmt" } }, /normalizer "Nmt"; known:/],
    [
      "a compiled normalizer that is cut off",
      { normalizer: { type: "Precompiled", precompiled_charsmap: "AAEA" } },
      /precompiled_charsmap cannot be read/,
    ],
    [
      "an unknown pre-tokenizer",
      { pre_tokenizer: { type: "BertPreTokenizer" } },
      /"BertPreTokenizer"; known:/,
    ],
    ["an unknown decoder", { decoder: { type: "WordPiece" } }, /decoder .*WordPiece/],
    ["no decoder", { decoder: null }, /no decoder/],
    [
      "a merge of unknown tokens",
      { model: { ...json.model, merges: ["d o", "o x"] } },
      /model.merges\[1\] needs "x"/,
    ],
    [
      "an unreadable expression",
      { pre_tokenizer: { type: "Split", pattern: { Regex: "(" }, behavior: "Isolated" } },
      /the expression "\(" cannot be read/,
    ],
    ["an id that is none", { added_tokens: [{ id: -1, content: "<s>" }] }, /"<s>" has id -1/],
  ])("is refused with a reason: %s", async (_, part, error) => {
    await expect(read({ ...json, ...part })).rejects.toThrow(error);
  });

  it("gives way to tokenizer.model where it has parts that are not known", async () => {
    const model = readFileSync(new URL("../../test/golden/tokenizer-own/pairs.model", import.meta.url));
    const normalizer = { type: "Nmt" };
    const files = { "tokenizer.json": JSON.stringify({ ...json, normalizer }), "tokenizer.model": model };
    expect((await readTokenizer(files)).size).toBe(640);
  });

  it("is needed, or tokenizer.model", async () => {
    await expect(readTokenizer({})).rejects.toThrow(/neither tokenizer.json nor tokenizer.model/);
  });

  it("never does anything but fail with a reason, or work", async () => {
    const junk = fc.constantFrom<unknown>(
      null,
      0,
      -1,
      1e9,
      "",
      "▁",
      "x",
      [],
      {},
      [["a"]],
      { type: "Fuse" },
      true,
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(), junk), { minLength: 1, maxLength: 3 }),
        async (changes) => {
          const broken = structuredClone(json);
          for (const [place, value] of changes) replaceSomewhere(broken, place, structuredClone(value));
          try {
            const tokenizer = await read(broken);
            tokenizer.decode(tokenizer.encode("dog é </s>a"));
          } catch (error) {
            if (!(error instanceof DiffsightError)) throw error;
          }
        },
      ),
      { numRuns: 10_000 },
    );
  });
});

/** Walks down by the digits of `place` and puts the value there. */
function replaceSomewhere(root: Record<string, unknown>, place: number, value: unknown): void {
  let at = root;
  for (let left = place; ; left = Math.floor(left / 7)) {
    const keys = Object.keys(at);
    const key = keys[left % keys.length];
    if (key === undefined) return;
    const below = at[key];
    if (typeof below !== "object" || below === null || left % 5 === 0) {
      at[key] = value;
      return;
    }
    at = below as Record<string, unknown>;
  }
}
