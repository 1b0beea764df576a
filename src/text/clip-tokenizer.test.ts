/** @file Unit tests of CLIP's tokenizer on a vocabulary of a few merges; the golden ones are in test/tokenizer.test.ts. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { byteCharacters } from "./byte-pairs.js";
import { type ClipTokenizerTexts, clipTokenizer } from "./clip-files.js";
import type { Truncation } from "./clip-tokenizer.js";

const merges = ["r e", "re d</w>", "d o", "do g</w>", "s o", "f a</w>", "so fa</w>"];
const tokens = [
  ...byteCharacters,
  ...byteCharacters.map((character) => `${character}</w>`),
  ...merges.map((line) => line.replace(" ", "")),
  "<|startoftext|>",
  "<|endoftext|>",
];
const id = (token: string) => tokens.indexOf(token);
const files: ClipTokenizerTexts = {
  "vocab.json": JSON.stringify(Object.fromEntries(tokens.map((token, i) => [token, i]))),
  "merges.txt": ["#version: 0.2", ...merges, ""].join("\n"),
  "tokenizer_config.json": JSON.stringify({ model_max_length: 12 }),
};
const tokenizer = clipTokenizer(files);

describe("an encoded prompt", () => {
  it("has start, words, end and padding", () => {
    expect(tokenizer.encode("Red dog")).toEqual({
      ids: [id("<|startoftext|>"), id("red</w>"), id("dog</w>"), ...new Array(9).fill(id("<|endoftext|>"))],
      tokens: 4,
      words: [
        { text: "Red", start: 1, end: 2 },
        { text: "dog", start: 2, end: 3 },
      ],
    });
  });

  it("names each word as the prompt spells it, with the positions of its sub-tokens", () => {
    const { words } = tokenizer.encode("Reds, İ 42");
    expect(words).toEqual([
      { text: "Reds", start: 1, end: 4 },
      { text: ",", start: 4, end: 5 },
      { text: "i", start: 5, end: 6 },
      { text: "\u0307", start: 6, end: 8 },
      { text: "4", start: 8, end: 9 },
      { text: "2", start: 9, end: 10 },
    ]);
  });

  it("takes special tokens whole, in their own spelling only", () => {
    expect(tokenizer.encode("dog<|endoftext|>dog").ids.slice(0, 5)).toEqual(
      ["<|startoftext|>", "dog</w>", "<|endoftext|>", "dog</w>", "<|endoftext|>"].map(id),
    );
    expect(tokenizer.encode("<|ENDOFTEXT|>").words.map(({ text }) => text)).toEqual(["<|", "ENDOFTEXT"]);
  });

  it("is cut to the length with the end token last", () => {
    let told: Truncation | undefined;
    const {
      ids,
      tokens: kept,
      words,
    } = tokenizer.encode(`${"dog ".repeat(9)}dogs Red sofa`, {
      onTruncate: (truncation) => void (told = truncation),
    });
    expect(ids).toHaveLength(12);
    expect(ids.at(-1)).toBe(id("<|endoftext|>"));
    expect(kept).toBe(12);
    expect(words.at(-1)).toEqual({ text: "dogs", start: 10, end: 11 });
    expect(told).toEqual({ tokens: 16, limit: 12, cut: "dogs Red sofa" });
  });

  it("that is too long is an error on demand", () => {
    expect(() => tokenizer.encode("dog ".repeat(11), { truncate: "error" })).toThrow(
      /has 13 tokens.*takes 12/,
    );
  });

  it("finds words and phrases again, whatever their case", () => {
    const encoded = tokenizer.encode("a RED sofa, a red dog");
    expect(tokenizer.find(encoded, "red")).toEqual([
      { text: "red", start: 2, end: 3 },
      { text: "red", start: 6, end: 7 },
    ]);
    expect(tokenizer.find(encoded, "red  Dog")).toEqual([{ text: "red  Dog", start: 6, end: 8 }]);
    expect(tokenizer.find(encoded, "blue")).toEqual([]);
    expect(tokenizer.find(encoded, " ")).toEqual([]);
  });
});

describe("decoding", () => {
  it("gives the words back", () => {
    const { ids, tokens: kept } = tokenizer.encode("Red dog,犬");
    expect(tokenizer.decode(ids.slice(0, kept))).toBe("<|startoftext|>red dog , 犬 <|endoftext|>");
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("red dog , 犬");
  });

  it("refuses ids that are none", () => {
    expect(() => tokenizer.decode([tokens.length])).toThrow(/No token has id/);
  });
});

describe("any text", () => {
  const anything = fc.oneof(
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.string({ unit: "grapheme", maxLength: 60 }),
    fc
      .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 })
      .map((units) => String.fromCharCode(...units)),
    fc
      .array(
        fc.constantFrom("red", "DOG", "'s", "'", "!", "<|", "<|endoftext|>", "\u0301", "\ud800", " ", "7"),
      )
      .map((parts) => parts.join("")),
  );

  it("is encoded into ids of the vocabulary, start first, end before the padding, words in order", () => {
    fc.assert(
      fc.property(anything, (text) => {
        const { ids, tokens: kept, words } = tokenizer.encode(text);
        expect(ids).toHaveLength(12);
        expect(ids.every((one) => one >= 0 && one < tokens.length)).toBe(true);
        expect([ids[0], ids[kept - 1]]).toEqual([tokenizer.start, tokenizer.end]);
        expect(ids.slice(kept).every((one) => one === tokenizer.padding)).toBe(true);
        let at = 1;
        for (const { start, end } of words) {
          expect([start, end > start]).toEqual([at, true]);
          at = end;
        }
        expect(at).toBe(kept - 1);
        tokenizer.decode(ids);
      }),
      { numRuns: 10_000 },
    );
  });

  it.each([
    ["words", "a red dog on the sofa, naïve; ".repeat(35_000)],
    ["new words", Array.from({ length: 120_000 }, (_, i) => i.toString(36).replace(/\d/g, "x")).join(" ")],
    ["one word", "redog".repeat(200_000)],
    ["signs", "'".repeat(1_000_000)],
    ["marks", `a${"\u0301\u0323".repeat(250_000)}`],
    ["special tokens", "<|endoftext|>".repeat(80_000)],
  ])("of a megabyte is done in time: %s", (_, text) => {
    const begun = performance.now();
    expect(tokenizer.encode(text).tokens).toBe(12);
    expect(performance.now() - begun).toBeLessThan(20_000);
  });
});

describe("files", () => {
  const vocab = JSON.parse(files["vocab.json"]!);
  const without = (token: string) => JSON.stringify({ ...vocab, [token]: undefined });

  it.each<[string, ClipTokenizerTexts, RegExp]>([
    ["no file", {}, /neither tokenizer.json nor vocab.json/],
    ["no merges", { "vocab.json": files["vocab.json"]! }, /merges.txt/],
    ["no JSON", { ...files, "vocab.json": "{" }, /vocab.json: it is not valid JSON/],
    ["another JSON", { ...files, "vocab.json": "[1]" }, /vocab.json: it is no JSON object/],
    ["an empty vocabulary", { ...files, "vocab.json": "{}" }, /vocab.json: its vocabulary is empty/],
    ["an id that is none", { ...files, "vocab.json": '{"a": "b"}' }, /vocab.json: token "a" has id "b"/],
    [
      "no end token",
      { ...files, "vocab.json": without("<|endoftext|>") },
      /vocab.json: it lacks the eos token/,
    ],
    [
      "a merge without its token",
      { ...files, "vocab.json": without("dog</w>") },
      /merges.txt: line 5 needs "dog<\/w>"/,
    ],
    [
      "merges that are none",
      { ...files, "merges.txt": "r e\nlorem ipsum dolor" },
      /merges.txt: line 2 is not a pair/,
    ],
    [
      "another tokenizer",
      { "tokenizer.json": '{"model": {"type": "Unigram"}}' },
      /tokenizer.json: it is no CLIP/,
    ],
    [
      "a padding token that is none",
      { ...files, "special_tokens_map.json": '{"pad_token": "<pad>"}' },
      /pad token "<pad>"/,
    ],
    [
      "a bad length",
      { ...files, "tokenizer_config.json": '{"model_max_length": "x"}' },
      /model_max_length is "x"/,
    ],
  ])("with %s fail by name", (_, broken, message) => {
    expect(() => clipTokenizer(broken)).toThrow(message);
    expect(() => clipTokenizer(broken)).toThrow(expect.objectContaining({ misuse: false }));
  });

  it.each(["{}", '{"model_max_length": 1e30}', '{"model_max_length": null}'])(
    "with config %s mean 77 tokens",
    (config) => {
      expect(clipTokenizer({ ...files, "tokenizer_config.json": config }).encode("").ids).toHaveLength(77);
    },
  );

  it("let the special tokens map win over the config", () => {
    const config = JSON.stringify({ pad_token: "<|endoftext|>" });
    const padded = clipTokenizer({
      ...files,
      "tokenizer_config.json": config,
      "special_tokens_map.json": '{"pad_token": "!"}',
    });
    expect(padded.padding).toBe(id("!"));
    expect(padded.encode("dog!").ids.slice(0, 5)).toEqual(
      ["<|startoftext|>", "dog</w>", "!", "<|endoftext|>", "!"].map(id),
    );
  });

  it("add tokens of their own", () => {
    const decoder = { 600: { content: "<my-cat>", special: false } };
    const config = JSON.stringify({ added_tokens_decoder: decoder });
    const taught = clipTokenizer({ ...files, "tokenizer_config.json": config });
    expect(taught.encode("a <my-cat>").words[1]).toEqual({ text: "<my-cat>", start: 2, end: 3 });
    expect(taught.encode("a <my-cat>").ids[2]).toBe(600);
  });

  it("of any content fail cleanly or work", () => {
    const value = fc.oneof(fc.json({ maxDepth: 3 }), fc.string(), fc.constant(files["vocab.json"]!));
    const texts = fc.record(
      {
        "tokenizer.json": value,
        "vocab.json": value,
        "merges.txt": fc.string(),
        "tokenizer_config.json": value,
        "special_tokens_map.json": value,
        "added_tokens.json": value,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(texts, (some) => {
        try {
          clipTokenizer(some).encode("a red dog");
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^FILE_(MISSING|CORRUPT)$/) });
        }
      }),
      { numRuns: 10_000 },
    );
  });
});
