/** @file How well captions agree with references: CIDEr, BLEU and ROUGE-L, as coco-caption computes them. */

import { misuse } from "../tensor/index.js";

/** Signs that coco-caption leaves out, and those that the Penn Treebank's rules turn into brackets' names. */
const punctuation = new Set("'\"`.?!,:;-–—…()[]{}");

/**
 * The words of a caption: small letters, without punctuation. An approximation of Stanford's PTBTokenizer, which
 * coco-caption runs: contractions are split ("do n't", "dog 's"), hyphenated words and numbers stay whole.
 */
export function captionWords(caption: string): string[] {
  const text = caption.toLowerCase().replaceAll("’", "'");
  return (text.match(wordPieces) ?? []).filter((word) => !punctuation.has(word));
}

const wordPieces =
  /\p{L}+(?=n't(?!\p{L}))|n't(?!\p{L})|'(?:s|m|d|re|ve|ll)(?!\p{L})|\p{N}+(?:[.,:]\p{N}+)+|[\p{L}\p{M}\p{N}]+(?:[-_&/][\p{L}\p{M}\p{N}]+)*|\P{White_Space}/gu;

const orders = [1, 2, 3, 4];

/** How often each run of 1 to 4 words occurs, by order. */
type Counts = readonly ReadonlyMap<string, number>[];

function ngramCounts(words: readonly string[]): Counts {
  return orders.map((order) => {
    const counts = new Map<string, number>();
    for (let at = 0; at + order <= words.length; at++) {
      const ngram = words.slice(at, at + order).join(" ");
      counts.set(ngram, (counts.get(ngram) ?? 0) + 1);
    }
    return counts;
  });
}

/** Of every image, a caption to be judged and what people said. */
export interface CaptionPair {
  caption: string;
  references: readonly string[];
}

/** A score of the whole set, and of each image. */
export interface CaptionScores {
  score: number;
  each: number[];
}

/** In how many images' references a run of words occurs: what makes a word count little. */
export class DocumentFrequencies {
  readonly #counts = new Map<string, number>();
  /** The logarithm of the number of images. */
  readonly logImages: number;

  /** @param references of each image */
  constructor(references: readonly (readonly string[])[]) {
    this.logImages = Math.log(references.length);
    for (const texts of references) {
      const ngrams = texts.flatMap((text) =>
        ngramCounts(captionWords(text)).flatMap((counts) => [...counts.keys()]),
      );
      for (const ngram of new Set(ngrams)) this.#counts.set(ngram, (this.#counts.get(ngram) ?? 0) + 1);
    }
  }

  /** Inverse document frequency: ln(images / images with it), of an unseen one ln(images). */
  inverse(ngram: string): number {
    return this.logImages - Math.log(Math.max(1, this.#counts.get(ngram) ?? 0));
  }
}

export interface CiderOptions {
  /** `D`, coco-caption's: counts are clipped and lengths must agree; `plain`: the cosine alone. */
  variant?: "D" | "plain";
  /** Where the weights of words come from; the pairs' own references unless given. */
  frequencies?: DocumentFrequencies;
}

/** Width of the penalty on a difference in length, in words. */
const sigma = 6;

interface Weighted {
  weights: readonly ReadonlyMap<string, number>[];
  norms: readonly number[];
  /** Coco-caption measures length in pairs of words. */
  length: number;
}

/**
 * CIDEr times 10: the cosine of tf-idf weighted n-grams, mean over orders 1 to 4 and over references.
 * @throws misuse CAPTIONS
 * @see Vedantam et al. 2015; coco-caption's `CiderScorer` is the variant D
 */
export function cider(pairs: readonly CaptionPair[], options: CiderOptions = {}): CaptionScores {
  checkPairs(pairs);
  const { variant = "D" } = options;
  const frequencies =
    options.frequencies ?? new DocumentFrequencies(pairs.map(({ references }) => references));
  const weigh = (text: string): Weighted => {
    const counts = ngramCounts(captionWords(text));
    const weights = counts.map(
      (of) => new Map([...of].map(([ngram, count]) => [ngram, count * frequencies.inverse(ngram)])),
    );
    const norms = weights.map((of) =>
      Math.sqrt([...of.values()].reduce((sum, weight) => sum + weight ** 2, 0)),
    );
    return { weights, norms, length: [...counts[1]!.values()].reduce((sum, count) => sum + count, 0) };
  };
  return scores(pairs, ({ caption, references }) => {
    const hypothesis = weigh(caption);
    const sums = references.map((reference) => mean(similarities(hypothesis, weigh(reference), variant)));
    return 10 * mean(sums);
  });
}

function similarities(one: Weighted, other: Weighted, variant: "D" | "plain"): number[] {
  const penalty = variant === "D" ? Math.exp(-((one.length - other.length) ** 2) / (2 * sigma ** 2)) : 1;
  return one.weights.map((weights, order) => {
    let product = 0;
    for (const [ngram, weight] of weights) {
      const reference = other.weights[order]!.get(ngram) ?? 0;
      product += (variant === "D" ? Math.min(weight, reference) : weight) * reference;
    }
    const norm = one.norms[order]! * other.norms[order]!;
    return (norm === 0 ? product : product / norm) * penalty;
  });
}

/**
 * BLEU of the whole set for orders up to 1, 2, 3 and 4, with the closest reference's length.
 * @throws misuse CAPTIONS
 * @see Papineni et al. 2002; coco-caption's `BleuScorer`
 */
export function bleu(pairs: readonly CaptionPair[]): [number, number, number, number] {
  checkPairs(pairs);
  const [small, tiny] = [1e-9, 1e-15];
  const [right, guessed] = [
    [0, 0, 0, 0],
    [0, 0, 0, 0],
  ];
  let [length, wanted] = [0, 0];
  for (const { caption, references } of pairs) {
    const words = captionWords(caption);
    const texts = references.map(captionWords);
    const known = texts.map(ngramCounts);
    length += words.length;
    wanted += texts.map((text) => text.length).reduce((best, one) => closer(one, best, words.length));
    ngramCounts(words).forEach((counts, order) => {
      guessed[order]! += Math.max(0, words.length - order);
      for (const [ngram, count] of counts) {
        right[order]! += Math.min(count, Math.max(...known.map((of) => of[order]!.get(ngram) ?? 0)));
      }
    });
  }
  const ratio = (length + tiny) / (wanted + small);
  const brevity = ratio < 1 ? Math.exp(1 - 1 / ratio) : 1;
  let product = 1;
  return orders.map((order, i) => {
    product *= (right[i]! + tiny) / (guessed[i]! + small);
    return product ** (1 / order) * brevity;
  }) as [number, number, number, number];
}

/** The length nearer to the caption's; of two equally near ones the shorter. */
function closer(one: number, other: number, length: number): number {
  const [a, b] = [Math.abs(one - length), Math.abs(other - length)];
  if (a === b) return Math.min(one, other);
  return a < b ? one : other;
}

/** How much more recall counts than precision in coco-caption's ROUGE-L. */
const beta = 1.2;

/**
 * ROUGE-L: the longest common subsequence as a share of the caption and of the reference.
 * @throws misuse CAPTIONS
 * @see Lin 2004; coco-caption's `Rouge`
 */
export function rougeL(pairs: readonly CaptionPair[]): CaptionScores {
  checkPairs(pairs);
  return scores(pairs, ({ caption, references }) => {
    const words = captionWords(caption);
    const texts = references.map(captionWords);
    const common = texts.map((text) => commonSubsequence(words, text));
    const precision = Math.max(...common.map((length) => length / Math.max(1, words.length)));
    const recall = Math.max(...common.map((length, i) => length / Math.max(1, texts[i]!.length)));
    if (precision === 0 || recall === 0) return 0;
    return ((1 + beta ** 2) * precision * recall) / (recall + beta ** 2 * precision);
  });
}

function commonSubsequence(one: readonly string[], other: readonly string[]): number {
  let row = new Array<number>(other.length + 1).fill(0);
  for (const word of one) {
    const next = [0];
    for (const [i, wanted] of other.entries()) {
      next.push(word === wanted ? row[i]! + 1 : Math.max(row[i + 1]!, next[i]!));
    }
    row = next;
  }
  return row[other.length]!;
}

function checkPairs(pairs: readonly CaptionPair[]): void {
  const empty = pairs.findIndex(({ references }) => references.length === 0);
  if (pairs.length === 0 || empty !== -1) {
    const what = pairs.length === 0 ? "There are no captions" : `Caption ${empty} has no reference`;
    throw misuse("CAPTIONS", `${what} to compare.`);
  }
}

function scores(pairs: readonly CaptionPair[], score: (pair: CaptionPair) => number): CaptionScores {
  const each = pairs.map(score);
  return { score: mean(each), each };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
