/** @file Characters that a vocabulary lacks: as tokenizers 0.23 has them. */

import { describe, expect, it } from "vitest";
import { readTokenizer } from "./tokenizer-files.js";

const decoder = { type: "Metaspace" };
const read = (model: object) => readTokenizer({ "tokenizer.json": JSON.stringify({ model, decoder }) });

/** "é" has both of its bytes, "漢" none. */
const vocab = { "<unk>": 0, a: 1, "<0xC3>": 2, "<0xA9>": 3 };
const pieces = Object.keys(vocab).map((text, id) => [text, -id]);

describe("a character that the vocabulary lacks", () => {
  it.each([
    ["aé", [1, 2, 3], [1, 2, 3]],
    ["a漢é", [1, 2, 3, 0], [1, 2, 3, 0]],
    ["漢漢a", [0, 0, 1], [0, 1]],
    ["漢é漢", [2, 3, 0, 0], [2, 3, 0]],
  ])("is spelt in bytes where there are all of its own: %s", async (text, apart, fused) => {
    const model = { type: "BPE", vocab, merges: [], unk_token: "<unk>", byte_fallback: true };
    expect((await read({ ...model, fuse_unk: false })).encode(text)).toEqual(apart);
    expect((await read({ ...model, fuse_unk: true })).encode(text)).toEqual(fused);
  });

  it.each([
    ["aé", [1, 2, 3]],
    ["a漢é", [1, 0]],
    ["é漢", [0]],
    ["éa漢", [2, 3, 1, 0]],
  ])("is so with those beside it, for a unigram model: %s", async (text, ids) => {
    const model = { type: "Unigram", vocab: pieces, unk_id: 0, byte_fallback: true };
    expect((await read(model)).encode(text)).toEqual(ids);
  });

  it("may have no token", async () => {
    const model = {
      type: "Unigram",
      vocab: [
        ["a", -1],
        ["b", -2],
      ],
      unk_id: null,
      byte_fallback: false,
    };
    expect((await read(model)).encode("abxa")).toEqual([0, 1, 0]);
  });
});
