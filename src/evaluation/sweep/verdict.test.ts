/** @file Sentences on what a sweep found: which say better, worse, more or less, and of whom. */

import { describe, expect, it } from "vitest";
import type { SweepContrast } from "./findings.js";
import { verdicts } from "./verdict.js";

const estimate = (value: number, half: number) => ({
  value,
  low: value - half,
  high: value + half,
  count: 10,
});

const contrast = (first: string, second: string, value: number, gap?: number): SweepContrast => ({
  first,
  second,
  compared: { twins: { patterns: {}, macro: estimate(value, 0.05), seeds: [] } },
  ...(gap !== undefined && {
    leakage: {
      unprompted: estimate(0, 1),
      told: [
        { guidance: 4, gap: estimate(gap, 0.5), mismatch: estimate(0, 1) },
        { guidance: 1, gap: estimate(-gap, 0.5), mismatch: estimate(0, 1) },
      ],
    },
  }),
});

describe("verdicts", () => {
  it("tell variants apart from the baseline where the interval leaves zero out", () => {
    const found = verdicts([
      contrast("a", "base", 0.2),
      contrast("b", "base", -0.1),
      contrast("c", "base", 0.01),
    ]);
    expect(found).toEqual([
      "On twins, better than base: a (+20.0); worse than base: b (−10.0); not told apart from base: c (+1.0).",
    ]);
    expect(verdicts([])).toEqual([]);
  });

  it("tell of every pair how much of a caption comes back, at the largest guidance", () => {
    const found = verdicts([
      contrast("told", "base", 0.01, 2),
      contrast("told too", "base", 0.01, 0.1),
      contrast("dropout", "told", 0.01, -1.5),
    ]);
    expect(found.slice(1)).toEqual([
      "Of a caption that is told at s = 4, more comes back than from base: told (+200.0).",
      "Of a caption that is told at s = 4, less comes back than from told: dropout (−150.0).",
    ]);
  });
});
