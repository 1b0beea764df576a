/** @file Tokens as text, by the steps of tokenizer.json: as tokenizers 0.23 writes them. */

import { describe, expect, it } from "vitest";
import { readDecoder } from "./decoders.js";

const space = { type: "Replace", pattern: { String: "▁" }, content: " " };
const bytes = { type: "ByteFallback" };
const fuse = { type: "Fuse" };
const strip = (start: number, stop = 0) => ({ type: "Strip", content: " ", start, stop });
const metaspace = (prepend_scheme = "always") => ({ type: "Metaspace", replacement: "▁", prepend_scheme });

describe("decoders", () => {
  it.each<[name: string, steps: object[], tokens: string[], text: string]>([
    ["all marks of the first token are nothing", [metaspace()], ["▁▁b", "▁c"], "b c"],
    ["those of later ones are spaces", [metaspace()], ["▁", "▁", "b"], " b"],
    ["marks that are never put before a text are spaces", [metaspace("never")], ["▁▁b"], "  b"],
    ["a byte comes first", [bytes, metaspace()], ["<0x20>", "▁a"], "  a"],
    ["a space that is spelt as a byte is stripped", [space, bytes, fuse, strip(1)], ["<0x20>", "▁a"], " a"],
    ["without Fuse each token is stripped", [space, bytes, strip(1)], ["▁a", "▁b", "▁▁c"], "ab c"],
    ["ends are stripped", [space, strip(0, 1)], ["a▁", "b▁▁"], "ab "],
    [
      "what follows Fuse sees one token",
      [bytes, fuse, { ...space, pattern: { String: "▁a" }, content: "." }],
      ["▁", "a", "b"],
      ".b",
    ],
    [
      "one wrong byte makes its run unreadable",
      [space, bytes, fuse],
      ["▁", "<0xC3>", "<0xA9>", "<0xC3>", "a"],
      " ���a",
    ],
  ])("%s", async (_, decoders, tokens, text) => {
    const writer = (await readDecoder({ type: "Sequence", decoders }, "tokenizer.json"))();
    expect(tokens.map((token) => writer.push(token)).join("") + writer.end()).toBe(text);
  });

  it("tell what is certain at once", async () => {
    const decoders = [space, bytes, fuse, strip(1)];
    const writer = (await readDecoder({ type: "Sequence", decoders }, "tokenizer.json"))();
    const told = ["▁", "a", "<0xC3>", "<0xA9>", "▁b"].map((token) => writer.push(token));
    expect([...told, writer.end()]).toEqual(["", "a", "", "", "é b", ""]);
  });
});
