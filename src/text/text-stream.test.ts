/** @file What a stream of tokens tells, and when. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TextStream } from "./text-stream.js";
import type { Tokenizer } from "./tokenizer.js";
import { readTokenizer } from "./tokenizer-files.js";
import { wordVocabulary } from "./word-vocabulary.js";

const tokenizer = await readTokenizer(wordVocabulary(["dog", "cat", "USER:", "naïve", "###"]));

/** GPT-2's kind: every byte a token. */
async function bytesTokenizer(): Promise<Tokenizer> {
  const { byteCharacters } = await import("./byte-pairs.js");
  const vocab = Object.fromEntries(byteCharacters.map((character, byte) => [character, byte]));
  const model = { type: "BPE", vocab, merges: [] };
  const json = { model, pre_tokenizer: { type: "ByteLevel" }, decoder: { type: "ByteLevel" } };
  return readTokenizer({ "tokenizer.json": JSON.stringify(json) });
}

const bytes = await bytesTokenizer();

function tell(ids: Iterable<number>, options = {}, using = tokenizer) {
  const stream = new TextStream(using, options);
  const told = Array.from(ids, (id) => stream.push(id));
  return { told: [...told, stream.end()], stopped: stream.stopped };
}

const idsOf = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });

describe("a stream of text", () => {
  it("tells words as they come, without the space of the first", () => {
    expect(tell(idsOf("dog cat")).told).toEqual(["dog", " cat", ""]);
  });

  it.each([
    ["byte characters", bytes, ["", "", "", "🦄", "!", ""]],
    // "!" is a byte of its own here: one that made the run unreadable would take the character with it.
    ["byte pieces", tokenizer, ["", "", "", "", "", "🦄!"]],
  ])("tells a character when all of its bytes are there: %s", (_, using, told) => {
    const ids = using.encode("🦄!", { addSpecialTokens: false }).slice(-5);
    expect(tell(ids, {}, using).told).toEqual(told);
  });

  it("tells what is left of a broken character at the end", () => {
    const ids = bytes.encode("a🦄").slice(0, 3);
    expect(tell(ids, {}, bytes).told.join("")).toBe(bytes.decode(ids));
  });

  it("leaves special tokens out unless they are asked for", () => {
    const ids = [...idsOf("dog"), tokenizer.end!];
    expect(tell(ids).told.join("")).toBe("dog");
    expect(tell(ids, { skipSpecialTokens: false }).told.join("")).toBe("dog</s>");
  });

  it("stops before a stop string that several tokens spell", () => {
    expect(tell(idsOf("dog###cat"), { stop: ["##c"] })).toEqual({
      told: ["dog", "#", "", ""],
      stopped: "##c",
    });
  });

  it("tells what only looked like a stop string", () => {
    expect(tell(idsOf("dog ##"), { stop: ["###"] })).toMatchObject({ stopped: undefined });
    expect(tell(idsOf("dog ##"), { stop: ["###"] }).told.join("")).toBe("dog ##");
  });

  it("tells the decoded text up to the first stop string, however it is cut into tokens", () => {
    const alphabet = fc.constantFrom(..."ab #é🦄");
    const text = fc.string({ unit: alphabet, maxLength: 30 });
    const stops = fc.array(fc.string({ unit: alphabet, minLength: 1, maxLength: 4 }), { maxLength: 3 });
    fc.assert(
      fc.property(text, stops, fc.boolean(), (text, stop, ofBytes) => {
        const using = ofBytes ? bytes : tokenizer;
        const ids = using.encode(text, { addSpecialTokens: false });
        const whole = using.decode(ids);
        const ends = stop.map((one) => whole.indexOf(one)).filter((at) => at !== -1);
        expect(tell(ids, { stop }, using).told.join("")).toBe(
          whole.slice(0, Math.min(whole.length, ...ends)),
        );
      }),
      { numRuns: 2000 },
    );
  });

  it("tells of any bytes what decoding them tells", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(255), { maxLength: 24 }), (ids) => {
        expect(tell(ids, {}, bytes).told.join("")).toBe(bytes.decode(ids));
      }),
      { numRuns: 2000 },
    );
  });
});
