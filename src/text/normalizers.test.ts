/** @file Normalizers and pre-tokenizers of tokenizer.json: as those of tokenizers 0.23. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readNormalizer } from "./normalizers.js";
import { readPreTokenizer } from "./pre-tokenizers.js";
import { fields } from "./protobuf.js";

/** SentencePiece's "nmt_nfkc", out of a model that has it. */
function nmtNfkc(): string {
  const model = readFileSync(new URL("../../test/golden/tokenizer-own/unigram.model", import.meta.url));
  const spec = [...fields(model)].find(({ number }) => number === 3)!;
  const map = [...fields(spec.bytes)].find(({ number }) => number === 2)!;
  return Buffer.from(map.bytes).toString("base64");
}

describe("a precompiled normalizer", () => {
  it.each([
    ["\ufb01ne \u00bd \u2167", "fine 1\u20442 VIII"],
    // A short grapheme is replaced as a whole by what its beginning becomes.
    ["a\r\nb\tc", "a b c"],
    ["e\u0301\u0323 \u00e9", "\u00e9 \u00e9"],
    ["\uff76\uff9e \u304b\u3099", "\u30ab\u3099 \u304b\u3099"],
    ["\u1100\u1161\u11a8", "\u1100\u1161\u11a8"],
    ["\u{1f469}\u200d\u{1f469} \ufeffx", "\u{1f469}\u200d\u{1f469}  x"],
    ["\u3000\u337f", " \u682a\u5f0f\u4f1a\u793e"],
  ])("writes %j as %j", async (text, normal) => {
    const normalize = await readNormalizer({ type: "Precompiled", precompiled_charsmap: nmtNfkc() }, "x");
    expect(normalize(text)).toBe(normal);
  });
});

describe("StripAccents", () => {
  it("takes every kind of mark away", async () => {
    const normalize = await readNormalizer({ type: "StripAccents" }, "x");
    expect(normalize("क्षि न\u0940 e\u0301 a\u20dd")).toBe("कष न e a");
  });
});

describe("pre-tokenizers", () => {
  it.each([
    [undefined, ["a", ",", " b", "!", "?", " ", "$", "5", "«", "c", "»"]],
    ["Isolated", ["a", ",", " b", "!", "?", " ", "$", "5", "«", "c", "»"]],
    ["Removed", ["a", " b", " ", "5", "c"]],
    ["Contiguous", ["a", ",", " b", "!?", " ", "$", "5", "«", "c", "»"]],
    ["MergedWithPrevious", ["a,", " b!", "?", " $", "5«", "c»"]],
    ["MergedWithNext", ["a", ", b", "!", "? ", "$5", "«c", "»"]],
  ])("split at punctuation, %s", async (behavior, pieces) => {
    const split = await readPreTokenizer({ type: "Punctuation", behavior }, "x");
    expect(split("a, b!? $5«c»", true)).toEqual(pieces);
  });

  it("split at white space as Unicode has it", async () => {
    const split = await readPreTokenizer({ type: "WhitespaceSplit" }, "x");
    expect(split(" a\u00a0 b,c\u0085\ufeffd\n", true)).toEqual(["a", "b,c", "\ufeffd"]);
  });
});
