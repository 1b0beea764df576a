/** @file SentencePiece's files: small ones made here, and broken ones. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DiffsightError } from "../tensor/index.js";
import { tokenizerFromSentencePiece } from "./sentencepiece.js";
import { readTokenizerConfig } from "./tokenizer-config.js";

const config = readTokenizerConfig({});

type Value = number | string | readonly number[] | { float: number };

/** A message of the fields. */
function message(...fields: [number: number, value: Value][]): number[] {
  return fields.flatMap(([number, value]) => {
    if (typeof value === "number") return [number * 8, ...varint(value)];
    if (typeof value === "object" && "float" in value) {
      return [number * 8 + 5, ...new Uint8Array(new Float32Array([value.float]).buffer)];
    }
    const bytes = typeof value === "string" ? [...new TextEncoder().encode(value)] : value;
    return [...varint(number * 8 + 2), ...varint(bytes.length), ...bytes];
  });
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
}

const piece = (text: string, score = 0, kind = 1) =>
  [1, message([1, text], [2, { float: score }], [3, kind])] as [number, Value];
const special = [piece("<unk>", 0, 2), piece("<s>", 0, 3), piece("</s>", 0, 3)];
const letters = ["▁", "a", "b", "é"].map((text, i) => piece(text, -10 - i));

function model(
  pieces: [number, Value][],
  { type = 2, map }: { type?: number; map?: number[] } = {},
): Uint8Array {
  const normalizer = message([4, 0], ...(map ? [[2, map] as [number, Value]] : []));
  return Uint8Array.from(message(...special, ...pieces, [2, message([3, type])], [3, normalizer]));
}

const read = (bytes: Uint8Array) => tokenizerFromSentencePiece(bytes, config);

describe("byte pairs of SentencePiece", () => {
  const bytes = model([...letters, piece("▁a", -1), piece("ab", -2), piece("aa", -3), piece("aaa", -3)]);

  it("merge the best score first, of equal ones the leftmost", () => {
    const tokenizer = read(bytes);
    const spell = (text: string) => tokenizer.encode(text).map((id) => tokenizer.token(id));
    expect(spell("ab")).toEqual(["<s>", "▁a", "b"]);
    expect(spell("baaab")).toEqual(["<s>", "▁", "b", "aa", "ab"]);
    expect(spell("baaaaa")).toEqual(["<s>", "▁", "b", "aaa", "aa"]);
  });

  it("have one unknown token for a run of unknown characters", () => {
    expect(read(bytes).encode("axyz🦄a")).toEqual([1, 7, 0, 4]);
  });

  it("find special tokens first", () => {
    expect(read(bytes).encode("a</s>a")).toEqual([1, 7, 2, 7]);
  });
});

describe("a broken tokenizer.model", () => {
  it.each<[string, Uint8Array, RegExp]>([
    ["empty", new Uint8Array(), /no pieces/],
    ["cut short", model(letters).slice(0, 20), /field 1 has/],
    ["a length beyond the file", Uint8Array.from([10, 0xff, 0xff, 0xff, 0xff, 0x7f]), /of which 0 are there/],
    ["an endless number", new Uint8Array(40).fill(0xff), /more than 10 bytes/],
    ["a wrong kind of field", Uint8Array.from([11]), /no field begins/],
    ["an empty piece", model([piece("")]), /piece 3 is empty/],
    ["a piece twice", model([...letters, piece("a")]), /"a" is there twice/],
    ["a score that is no number", model([piece("a", Number.NaN)]), /piece 3 has the score NaN/],
    ["no unknown piece", Uint8Array.from(message(...letters)), /0 unknown pieces/],
    ["words", model(letters, { type: 3 }), /a model of type word/],
    [
      "a map beyond its bytes",
      model(letters, { map: [0xff, 0xff, 0xff, 0x7f] }),
      /double array has 2147483647 bytes of 4/,
    ],
  ])("is an error: %s", (_, bytes, error) => {
    expect(() => read(bytes)).toThrow(error);
  });

  it("never does anything but fail with a reason, or work", () => {
    const [pairs, unigram] = [2, 1].map((type) =>
      model([...letters, piece("▁a", -1), piece("ab", -2, 4)], {
        type,
        map: [8, 0, 0, 0, ...new Array(8).fill(7), 97, 0],
      }),
    ) as [Uint8Array, Uint8Array];
    const change = fc.tuple(fc.nat(pairs.length - 1), fc.nat(255));
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.nat(),
        (isPair, changes, cut) => {
          const bytes = Uint8Array.from(isPair ? pairs : unigram);
          for (const [at, value] of changes) bytes[at] = value;
          try {
            const tokenizer = read(cut % 4 === 0 ? bytes.subarray(0, cut % bytes.length) : bytes);
            tokenizer.decode(tokenizer.encode("ab aé x</s>a"));
          } catch (error) {
            if (!(error instanceof DiffsightError)) throw error;
          }
        },
      ),
      { numRuns: 10_000 },
    );
  });
});
