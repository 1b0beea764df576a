/** @file How much of a caption is copied from the prompt that the model was given. */

import { captionWords } from "./captions.js";

/** Shares of a caption's words, 0 to 1. */
export interface Overlap {
  /** The longest run of words that the prompt has too. */
  longestRun: number;
  /** Its runs of so many words that the prompt has too; 0 when it is shorter than one. */
  ngrams: number;
}

/** @param order words of the runs that are counted; 4 unless told */
export function verbatimOverlap(caption: string, prompt: string, { order = 4 } = {}): Overlap {
  const [words, given] = [captionWords(caption), captionWords(prompt)];
  const runs = (of: readonly string[]) =>
    Array.from({ length: Math.max(0, of.length - order + 1) }, (_, at) => of.slice(at, at + order).join(" "));
  const known = new Set(runs(given));
  const own = runs(words);
  return {
    longestRun: words.length === 0 ? 0 : longestCommonRun(words, given) / words.length,
    ngrams: own.length === 0 ? 0 : own.filter((run) => known.has(run)).length / own.length,
  };
}

function longestCommonRun(one: readonly string[], other: readonly string[]): number {
  let longest = 0;
  let row = new Array<number>(other.length + 1).fill(0);
  for (const word of one) {
    const next = [0];
    for (const [i, wanted] of other.entries()) next.push(word === wanted ? row[i]! + 1 : 0);
    longest = next.reduce((most, run) => Math.max(most, run), longest);
    row = next;
  }
  return longest;
}
