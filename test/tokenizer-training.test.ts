/** @file Vocabularies of closed worlds: every word one token, here and in transformers. */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { vocabulary } from "../src/diorama/index.js";
import { clipTokenizer, clipVocabulary } from "../src/text/index.js";
import { goldenPath } from "./golden.js";

/** transformers' CLIPTokenizer on the files of `clipVocabulary(words)`. */
const golden: { words: string[]; size: number; cases: { text: string; ids: number[] }[] } = JSON.parse(
  readFileSync(goldenPath("tokenizer-words", "cases.json"), "utf8"),
);

describe("a vocabulary of words", () => {
  const tokenizer = clipTokenizer(clipVocabulary(golden.words));

  it.each(golden.words)("%j is one token", (word) => {
    expect(tokenizer.encode(word).tokens).toBe(3);
  });

  it.each(golden.cases)("$text has transformers' ids", ({ text, ids }) => {
    expect(tokenizer.encode(text).ids).toEqual(ids);
  });

  it("has 512 bytes, the merges, the start and the end, in the order of OpenAI's", () => {
    const files = clipVocabulary(golden.words);
    const ids = Object.entries(JSON.parse(files["vocab.json"]) as Record<string, number>);
    const ordered = ids.sort(([, a], [, b]) => a - b);
    expect(ordered.map(([, id]) => id)).toEqual(ordered.map((_, id) => id));
    expect(ordered).toHaveLength(golden.size);
    expect(ordered[0]).toEqual(["!", 0]);
    expect(ordered[256]).toEqual(["!</w>", 256]);
    expect(ordered.at(-1)).toEqual(["<|endoftext|>", golden.size - 1]);
  });

  it("does not depend on the order of the words or on repetitions", () => {
    const twice = [...golden.words, ...golden.words].reverse();
    expect(clipVocabulary(twice)).toEqual(clipVocabulary(golden.words));
  });

  it("can be the diorama's", () => {
    const diorama = clipTokenizer(clipVocabulary(vocabulary));
    for (const word of vocabulary) expect(diorama.encode(word).tokens, word).toBe(3);
  });

  it("pads to the length with the token that is asked for", () => {
    const other = clipTokenizer(clipVocabulary(["dog"], { length: 6, padding: "!" }));
    const { ids } = other.encode("dog");
    expect(ids).toHaveLength(6);
    expect(ids.slice(3)).toEqual([0, 0, 0]);
  });

  it.each(["teddy bear", "Dog", "", "42", "dog's"])("refuses %j, which is not one word", (word) => {
    expect(() => clipVocabulary(["cat", word])).toThrow(/cannot be one token/);
  });

  it("makes one token of whatever words there are", () => {
    const word = fc.string({ unit: fc.constantFrom(..."abcñ語"), minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 12 }), (words) => {
        const normal = words.map((one) => one.normalize("NFC").toLowerCase());
        const made = clipTokenizer(clipVocabulary(normal));
        for (const one of normal) expect(made.encode(one).tokens).toBe(3);
        // What is no word is spelt in bytes and found again.
        expect(made.decode(made.encode("zq!7").ids, { skipSpecialTokens: true })).toBe("zq ! 7");
      }),
      { numRuns: 200 },
    );
  });
});
