/** @file Measures of captions against pycocoevalcap; the diorama's captions as tuples, there and back. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { captions, facings, numbers, relations, type Scene, sceneOf, views } from "../src/diorama/index.js";
import {
  bleu,
  type CaptionPair,
  type CaptionScores,
  captionTuples,
  captionWords,
  cider,
  DocumentFrequencies,
  rougeL,
  tupleF1,
  verbatimOverlap,
} from "../src/evaluation/index.js";
import { goldenPath } from "./golden.js";

interface Case {
  pairs: CaptionPair[];
  ciderD: CaptionScores;
  cider: CaptionScores;
  bleu: number[];
  rougeL: CaptionScores;
}

const golden: Case[] = JSON.parse(readFileSync(goldenPath("captions", "cases.json"), "utf8"));

function expectScores(actual: CaptionScores, expected: CaptionScores): void {
  expect(actual.score).toBeCloseTo(expected.score, 11);
  expected.each.forEach((score, i) => {
    expect(actual.each[i]).toBeCloseTo(score, 11);
  });
}

describe.each(golden)("captions of a set", (one) => {
  it("have pycocoevalcap's CIDEr-D", () => expectScores(cider(one.pairs), one.ciderD));
  it("have its CIDEr without clipping and penalty", () =>
    expectScores(cider(one.pairs, { variant: "plain" }), one.cider));
  it("have pycocoevalcap's ROUGE-L", () => expectScores(rougeL(one.pairs), one.rougeL));
  it("have pycocoevalcap's BLEU", () => {
    bleu(one.pairs).forEach((score, i) => {
      expect(score).toBeCloseTo(one.bleu[i]!, 11);
    });
  });
});

describe("CIDEr", () => {
  const truth = "a red dog in the park";
  const others = ["two cats on a sofa", "the blue car is fast", "an open box"];

  it("weighs words by a corpus of its own when one is given", () => {
    const frequencies = new DocumentFrequencies([truth, ...others].map((text) => [text]));
    const pair = { caption: truth, references: [truth] };
    expect(cider([pair]).score).toBe(0);
    expect(cider([pair], { frequencies }).score).toBeCloseTo(10, 10);
  });

  it("needs references", () => {
    expect(() => cider([])).toThrow(/no captions/);
    expect(() => bleu([{ caption: "a", references: [] }])).toThrow(/Caption 0 has no reference/);
  });
});

describe("the words of a caption", () => {
  it.each([
    ["A man isn't wearing the dog's hat.", ["a", "man", "is", "n't", "wearing", "the", "dog", "'s", "hat"]],
    ["Well-known: 3.5 (or 1,000) things!", ["well-known", "3.5", "or", "1,000", "things"]],
    ["It’s “café” — olé", ["it", "'s", "“", "café", "”", "olé"]],
    ["", []],
  ])("%j", (text, words) => {
    expect(captionWords(text)).toEqual(words);
  });
});

describe("what is copied from a prompt", () => {
  it("is told by the longest run and by runs of four words", () => {
    const caption = "a red dog to the left of a cat";
    expect(verbatimOverlap(caption, caption)).toEqual({ longestRun: 1, ngrams: 1 });
    expect(verbatimOverlap(caption, "is it to the left of the cat?")).toEqual({
      longestRun: 4 / 9,
      ngrams: 1 / 6,
    });
    expect(verbatimOverlap(caption, "nothing")).toEqual({ longestRun: 0, ngrams: 0 });
    expect(verbatimOverlap("", caption)).toEqual({ longestRun: 0, ngrams: 0 });
    expect(verbatimOverlap("a red", caption, { order: 2 })).toEqual({ longestRun: 1, ngrams: 1 });
  });
});

/** The tuples of a full caption, from the scene itself. */
function tuplesOf({ things, relation, count, extra, view, place }: Scene): string[][] {
  const [first, second] = things;
  const about = (thing: Scene["things"][number], isPlain = false): string[][] => {
    const { noun, colour, state, facing, hat, says } = thing;
    const told = isPlain
      ? [colour]
      : [
          colour,
          state,
          says && `says ${says}`,
          hat === undefined ? undefined : hat ? "with a hat" : "with no hat",
          facing && `facing ${facings[facing].words}`,
        ];
    return [[noun], ...told.filter((one) => one !== undefined).map((one) => [noun, one])];
  };
  const where = ["in", place];
  if (count !== undefined) return [...about(first!, true), [first!.noun, numbers[count - 1]!], where];
  if (extra !== undefined)
    return [...about(first!), ...(extra ? about(second!) : [["no", second!.noun]]), where];
  if (relation) {
    return [
      ...about(first!),
      ...about(second!),
      [first!.noun, relations[relation].words, second!.noun],
      where,
    ];
  }
  return [...about(first!), ...(view ? [[first!.noun, `seen ${views[view].words}`]] : []), where];
}

const keys = (tuples: readonly (readonly string[])[]) =>
  [...new Set(tuples.map((tuple) => tuple.join("|")))].sort();

describe("the tuples of a caption", () => {
  it("are the scene's facts, of any scene", () => {
    for (let index = 0; index < 3000; index++) {
      const scene = sceneOf(index, { seed: 5 }, 0);
      const { full, loose } = captions(scene);
      expect(keys(captionTuples(full)), full).toEqual(keys(tuplesOf(scene)));
      // What a loose caption says is part of what the full one says.
      const known = new Set(keys(tuplesOf(scene)).map((tuple) => tuple.split("|")[0]));
      for (const tuple of captionTuples(loose)) expect(known, loose).toContain(tuple[0]);
    }
  });

  it.each<[string, string[]]>([
    ["a square table in the square", ["in|square", "table", "table|square"]],
    ["two red cars", ["car", "car|red", "car|two"]],
    ["a ball in a box", ["ball", "ball|in|box", "box"]],
    ["a dog facing in front of", ["dog"]],
    ["left left park the and", []],
  ])("of any words: %j", (text, tuples) => {
    expect(keys(captionTuples(text))).toEqual(tuples);
  });

  it("agree by F1", () => {
    const truth = "a red chair to the left of a dog in the park";
    const pair = (caption: string) => ({ caption, references: [truth] });
    expect(tupleF1([pair(truth)]).score).toBe(1);
    expect(tupleF1([pair("a chair in the park"), pair("")]).each).toEqual([4 / 7, 0]);
    expect(tupleF1([{ caption: "", references: ["hm"] }]).score).toBe(1);
  });
});
