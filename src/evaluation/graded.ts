/** @file Items with what several runs made of them: shares of right answers, and differences, over seeds and items. */

import { crossedDifference, crossedMean, type Runs } from "./crossed.js";
import type { Estimate } from "./statistics.js";

/** An item's, whatever it is. */
export interface Outcome {
  pattern: string;
  right: boolean;
}

/** How often answers are right: by pattern, and the mean over patterns. */
export interface Accuracy {
  patterns: Record<string, Estimate>;
  macro: Estimate;
}

/** Outcomes of one way on one kind of items. */
export interface Graded {
  /** The pattern of each item. */
  patterns: readonly string[];
  /** Of each seed. */
  runs: Runs;
}

/** @param lists of each seed, the same items in the same order */
export function graded(lists: readonly (readonly Outcome[])[]): Graded {
  return {
    patterns: lists[0]!.map(({ pattern }) => pattern),
    runs: lists.map((list) => Uint8Array.from(list, ({ right }) => Number(right))),
  };
}

/** One pattern's items. */
function onlyPattern({ patterns, runs }: Graded, pattern: string): Graded {
  const those = patterns.flatMap((one, i) => (one === pattern ? [i] : []));
  return {
    patterns: those.map(() => pattern),
    runs: runs.map((run) => Uint8Array.from(those, (i) => run[i]!)),
  };
}

function eachPattern(found: Graded, of: (pattern: string) => Estimate): Record<string, Estimate> {
  return Object.fromEntries([...new Set(found.patterns)].map((pattern) => [pattern, of(pattern)]));
}

export function gradedAccuracy(found: Graded): Accuracy {
  const patterns = eachPattern(found, (pattern) => {
    const own = onlyPattern(found, pattern);
    return crossedMean(own.runs, own.patterns);
  });
  return { patterns, macro: crossedMean(found.runs, found.patterns) };
}

/** By how much the first is right more often, on the same items: by pattern, and the mean over patterns. */
export function gradedDifference(first: Graded, second: Graded): Accuracy {
  const patterns = eachPattern(first, (pattern) => {
    const [a, b] = [onlyPattern(first, pattern), onlyPattern(second, pattern)];
    return crossedDifference(a.runs, b.runs, a.patterns);
  });
  return { patterns, macro: crossedDifference(first.runs, second.runs, first.patterns) };
}
