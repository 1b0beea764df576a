/** @file CLIP's tokenizer against transformers', with the published vocabulary. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { clipTokenizer } from "../src/text/index.js";
import { Golden, goldenPath } from "./golden.js";

interface Expected {
  text: string;
  ids: number[];
  untruncated_length: number;
}

function read(folder: string, file: string): string {
  return readFileSync(goldenPath(folder, file), "utf8");
}

// Both folders share the one vocabulary; they differ in the padding token.
const vocabulary = {
  "vocab.json": read("tokenizer-clip-sd21", "vocab.json"),
  "merges.txt": read("tokenizer-clip-sd21", "merges.txt"),
};

describe.each(["tokenizer-clip-sd21", "tokenizer-clip-sd15"])("%s", (folder) => {
  const golden = new Golden(folder);
  const { args, expected } = golden.case("encode");
  const configs = {
    "tokenizer_config.json": read(folder, "tokenizer_config.json"),
    "special_tokens_map.json": read(folder, "special_tokens_map.json"),
  };
  const tokenizer = clipTokenizer({ ...vocabulary, ...configs });

  it.each((expected as Expected[]).map((one) => [one.text, one] as const))("encodes %j", (text, one) => {
    let whole: number | undefined;
    const { ids, tokens } = tokenizer.encode(text, { onTruncate: (cut) => void (whole = cut.tokens) });
    expect(ids.slice(0, one.ids.length)).toEqual(one.ids);
    expect(ids.slice(one.ids.length)).toEqual(new Array(args.length - one.ids.length).fill(args.pad_id));
    expect(tokens).toBe(Math.min(one.untruncated_length, args.length));
    expect(whole ?? tokens).toBe(one.untruncated_length);
  });

  it("reads the same from tokenizer.json", () => {
    const merges = vocabulary["merges.txt"].split("\n").slice(1).filter(Boolean);
    for (const spelt of [merges, merges.map((line) => line.split(" "))]) {
      const model = {
        type: "BPE",
        end_of_word_suffix: "</w>",
        merges: spelt,
        vocab: JSON.parse(vocabulary["vocab.json"]),
      };
      const single = clipTokenizer({
        ...configs,
        "tokenizer.json": JSON.stringify({ model, added_tokens: [] }),
      });
      for (const { text } of expected as Expected[])
        expect(single.encode(text)).toEqual(tokenizer.encode(text));
    }
  });
});
