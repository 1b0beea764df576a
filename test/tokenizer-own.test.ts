/** @file Tokenizers of language models against SentencePiece's and Hugging Face's, with small vocabularies of our own. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readTokenizer } from "../src/text/index.js";
import { goldenPath } from "./golden.js";

interface Encoded {
  text: string;
  ids: number[];
}

interface Case {
  name: string;
  config: object;
  file: string;
  override: object;
  encoded: Encoded[];
  decoded: { ids: number[]; text: string; plain?: string }[];
}

const folder = "tokenizer-own";
const golden: { pieces: Case[]; json: Case[] } = JSON.parse(
  readFileSync(goldenPath(folder, "cases.json"), "utf8"),
);

/** What differs from the reference, all at once: a table of a hundred texts is one test. */
function differences<T>(cases: readonly T[], actual: (one: T) => unknown, expected: (one: T) => unknown) {
  return cases
    .map((one) => ({ one, actual: actual(one), expected: expected(one) }))
    .filter(({ actual, expected }) => JSON.stringify(actual) !== JSON.stringify(expected));
}

describe.each(golden.pieces)("$name as a model, $config", ({ name, config, encoded, decoded }) => {
  const files = {
    "tokenizer.model": readFileSync(goldenPath(folder, `${name}.model`)),
    "tokenizer_config.json": JSON.stringify({ ...config, add_bos_token: false }),
  };

  it("encodes as SentencePiece", async () => {
    const tokenizer = await readTokenizer(files);
    expect(
      differences(
        encoded,
        ({ text }) => tokenizer.encode(text),
        ({ ids }) => ids,
      ),
    ).toEqual([]);
  });

  it("decodes as SentencePiece", async () => {
    const tokenizer = await readTokenizer(files);
    expect(
      differences(
        decoded,
        ({ ids }) => tokenizer.decode(ids),
        ({ text }) => text,
      ),
    ).toEqual([]);
  });
});

describe.each(golden.json)("tokenizer.json: $name", ({ file, override, encoded, decoded }) => {
  const json = { ...JSON.parse(readFileSync(goldenPath(folder, file), "utf8")), ...override };
  const files = { "tokenizer.json": JSON.stringify(json) };

  it("encodes as the reference", async () => {
    const tokenizer = await readTokenizer(files);
    expect(
      differences(
        encoded,
        ({ text }) => tokenizer.encode(text),
        ({ ids }) => ids,
      ),
    ).toEqual([]);
  });

  it("decodes as the reference", async () => {
    const tokenizer = await readTokenizer(files);
    expect(
      differences(
        decoded,
        ({ ids }) => tokenizer.decode(ids),
        ({ text }) => text,
      ),
    ).toEqual([]);
    const plain = ({ ids }: { ids: number[] }) => tokenizer.decode(ids, { skipSpecialTokens: true });
    expect(differences(decoded, plain, ({ plain }) => plain)).toEqual([]);
  });
});
