/** @file What of a prompt comes back in a model's words: gaps, mismatch scores, and where leakage starts. */

import { type CaptionPair, cider, DocumentFrequencies } from "../captions.js";
import { verbatimOverlap } from "../captions-overlap.js";
import { tupleF1 } from "../captions-tuples.js";
import { type Estimate, meanOf, resample } from "../statistics.js";
import type { Condition, PictureRecords, Said } from "./measure.js";
import type { ToldPicture } from "./pictures.js";

/**
 * What is counted of each picture, whatever was told with it; `other` is the other picture's caption.
 * `cider`, `otherCider`: CIDEr-D of what was said against the caption, whose 1.0 is printed as 100.
 * `tuples`: F1 of its claims against the caption's, in the embedded world alone.
 * `otherRun`: the longest run of words of the other caption, as a share of what was said.
 * `likelihood`, `otherLikelihood`: mean natural logarithm of a token's probability, of each caption as the answer.
 */
export const leakageScores = [
  "cider",
  "tuples",
  "otherCider",
  "otherRun",
  "likelihood",
  "otherLikelihood",
] as const;
export type LeakageScore = (typeof leakageScores)[number];

type Scores<T> = Record<Exclude<LeakageScore, "tuples">, T> & { tuples?: T };

/** One condition's means, with bootstrap intervals over pictures. */
export interface LeakageOutcome extends Condition {
  scores: Scores<Estimate>;
  /** Less the same picture's without a prompt. Told the truth, `cider` is the gap; told the other, `otherCider` leaks. */
  gain: Scores<Estimate>;
}

/** The smallest s at which another picture's caption comes back, by the cross-attentions that hear it. */
export interface LeakageStart {
  layers: string;
  /** Null when it comes back at none that was tried. */
  guidance: number | null;
}

/** What one model does. */
export interface LeakageFindings {
  name: string;
  /** Without a prompt. */
  control: LeakageOutcome;
  outcomes: LeakageOutcome[];
  starts: LeakageStart[];
  /** A number a picture, by condition: the control first, then the outcomes. */
  each: Scores<number[]>[];
}

/** The same samples of pictures for every number. */
const drawn = (pictures: number) => ({ draws: resample(pictures, { resamples: 1000 }) });

/** @param world whether the captions are the embedded world's, whose claims can be read */
export function findLeakage(
  name: string,
  records: PictureRecords,
  pictures: readonly ToldPicture[],
  { world }: { world: boolean },
): LeakageFindings {
  const frequencies = new DocumentFrequencies(pictures.map(({ caption }) => [caption]));
  const conditions = records[0]!;
  const draws = drawn(pictures.length);
  const each = conditions.map((_, c) => {
    const said = records.map((all) => all[c]!);
    return scoresOf(said, pictures, { frequencies, world });
  });
  const outcomes = conditions.map(
    ({ told, guidance, layers }, c): LeakageOutcome => ({
      told,
      guidance,
      layers,
      scores: mapScores(each[c]!, (values) => meanOf(values, draws)),
      gain: mapScores(each[c]!, (values, score) => meanOf(less(values, each[0]![score]!), draws)),
    }),
  );
  const [control, ...others] = outcomes as [LeakageOutcome, ...LeakageOutcome[]];
  return { name, control, outcomes: others, starts: startsOf(control, others), each };
}

function mapScores<From, To>(
  scores: Scores<From>,
  map: (value: From, score: LeakageScore) => To,
): Scores<To> {
  const entries = Object.entries(scores) as [LeakageScore, From][];
  return Object.fromEntries(entries.map(([score, value]) => [score, map(value, score)])) as Scores<To>;
}

function less(one: readonly number[], other: readonly number[]): number[] {
  return one.map((value, i) => value - other[i]!);
}

function scoresOf(
  said: readonly Said[],
  pictures: readonly ToldPicture[],
  { frequencies, world }: { frequencies: DocumentFrequencies; world: boolean },
): Scores<number[]> {
  const against = (reference: "caption" | "mismatched"): CaptionPair[] =>
    said.map(({ text }, i) => ({ caption: text, references: [pictures[i]![reference]] }));
  const [own, other] = [against("caption"), against("mismatched")];
  return {
    cider: cider(own, { frequencies }).each,
    ...(world && { tuples: tupleF1(own).each }),
    otherCider: cider(other, { frequencies }).each,
    otherRun: other.map(({ caption, references }) => verbatimOverlap(caption, references[0]!).longestRun),
    likelihood: said.map(({ likelihood }) => likelihood.truth),
    otherLikelihood: said.map(({ likelihood }) => likelihood.mismatched),
  };
}

/** Leakage has started where the interval of the mismatch score lies above that of the control. */
function startsOf(control: LeakageOutcome, outcomes: readonly LeakageOutcome[]): LeakageStart[] {
  const layers = [...new Set(outcomes.map((one) => one.layers))];
  return layers.map((name) => {
    const leaking = outcomes.filter(
      ({ told, layers, scores }) =>
        told === "mismatched" && layers === name && scores.otherCider.low > control.scores.otherCider.high,
    );
    const strengths = leaking.map(({ guidance }) => guidance).sort((a, b) => a - b);
    return { layers: name, guidance: strengths[0] ?? null };
  });
}

/** What a condition brings each picture, less what the picture has without a prompt. @param condition as in `each` */
export function gainsOf(
  { each }: { each: readonly Readonly<Partial<Record<LeakageScore, readonly number[]>>>[] },
  condition: number,
  score: LeakageScore,
): number[] | undefined {
  const [control, own] = [each[0]![score], each[condition]![score]];
  return own && control && less(own, control);
}

/** How much more the first gains by a prompt than the second, paired by picture. */
export interface LeakageDifference extends Condition {
  first: string;
  second: string;
  /** Told the truth: the gap in CIDEr and in F1; told the other caption: the mismatch score. */
  score: LeakageScore;
  difference: Estimate;
}

/** Both were measured on the same pictures, under the same conditions. */
export function compareLeakage(first: LeakageFindings, second: LeakageFindings): LeakageDifference[] {
  const draws = drawn(first.each[0]!.cider.length);
  return first.outcomes.flatMap(({ told, guidance, layers }, c) => {
    const compared: LeakageScore[] = told === "truth" ? ["cider", "tuples"] : ["otherCider"];
    return compared.flatMap((score): LeakageDifference[] => {
      const [one, other] = [gainsOf(first, c + 1, score), gainsOf(second, c + 1, score)];
      if (!one || !other) return [];
      const difference = meanOf(less(one, other), draws);
      return [{ first: first.name, second: second.name, score, told, guidance, layers, difference }];
    });
  });
}
