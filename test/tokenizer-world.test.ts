/** @file Word vocabularies: diffsight's files, read by transformers' AutoTokenizer and by diffsight. */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { vocabulary } from "../src/diorama/index.js";
import { readTokenizer, wordVocabulary } from "../src/text/index.js";
import { goldenPath } from "./golden.js";
import "./properties.js";

const read = (file: string) => readFileSync(goldenPath("tokenizer-world", file), "utf8");
const words = [
  "a",
  "dog",
  "cat",
  "is",
  "the",
  "red",
  "where",
  "left",
  "right",
  "of",
  "to",
  "?",
  "teddy",
  "naïve",
  "犬",
];
const spoken = ["USER:", "ASSISTANT:"];
const files = wordVocabulary([...words, ...spoken]);
const tokenizer = await readTokenizer(files);

interface Case {
  text: string;
  ids: number[];
  plain: string;
}

const golden: { size: number; special: Record<string, number>; encoded: Case[]; decoded: Case[] } =
  JSON.parse(read("cases.json"));

describe("a word vocabulary", () => {
  it.each(["tokenizer.json", "tokenizer_config.json"] as const)(
    "is written as transformers read it: %s",
    (file) => {
      expect(files[file]).toBe(read(file));
    },
  );

  it("has transformers' ids", () => {
    expect(golden.encoded.map(({ text }) => tokenizer.encode(text))).toEqual(
      golden.encoded.map(({ ids }) => ids),
    );
  });

  it("has transformers' texts", () => {
    for (const { ids, text, plain } of golden.decoded) {
      expect(tokenizer.decode(ids)).toBe(text);
      expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(plain);
    }
  });

  it("has transformers' special tokens", () => {
    const { size, start, end, padding, unknown } = tokenizer;
    expect({ size, special: { bos: start, eos: end, pad: padding, unk: unknown } }).toEqual({
      size: golden.size,
      special: golden.special,
    });
    expect(tokenizer.id("<image>")).toBe(4);
  });

  it("gives every word of the diorama one token, after a space and after a line's end", async () => {
    const diorama = await readTokenizer(wordVocabulary(vocabulary));
    const count = (text: string) => diorama.encode(text, { addSpecialTokens: false }).length;
    for (const word of vocabulary) {
      expect(count(word), word).toBe(1);
      expect(count(`a ${word} a`), word).toBe(3);
      expect(count(`<image>\n${word}`), word).toBe(4);
    }
    expect(diorama.size).toBeLessThan(1600);
  });

  it("does not depend on the order of the words or on repetitions", () => {
    expect(wordVocabulary([...spoken, ...words, ...words].reverse())).toEqual(files);
  });

  it.each(["", "two words", "a▁b", "line\n"])("refuses %j, which is not one word", (word) => {
    expect(() => wordVocabulary(["cat", word])).toThrow(/is not one word/);
  });

  it("spells any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        fc.pre(!text.includes("▁"));
        const ids = tokenizer.encode(text);
        expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(text);
      }),
      { numRuns: 1000 },
    );
  });
});
