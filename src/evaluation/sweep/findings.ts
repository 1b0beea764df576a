/** @file What a sweep found: each variant's share of right answers over its seeds, by pattern, and pairs of variants held against each other. */

import { crossedMean } from "../crossed.js";
import {
  type Accuracy,
  type Graded,
  graded,
  gradedAccuracy,
  gradedDifference,
  type Outcome,
} from "../graded.js";
import { pairsOf } from "../probe/probe.js";
import { binomialTest, type Estimate } from "../statistics.js";
import type { SweepOutcome } from "./outcomes.js";
import type { SweepPlan, SweepVariant } from "./plan.js";
import { comparedTold, type ToldFindings, toldFindings } from "./told.js";

/** Kinds of items: pairs of twins, those that the CLIP is blind to, questions, questions about unseen combinations. */
export const measures = ["twins", "blind", "test", "unseen"] as const;

export type Measure = (typeof measures)[number];

/** What a variant says by itself, of all questions of the test. */
export interface SaidShares {
  right: Estimate;
  other: Estimate;
}

export interface VariantFindings {
  variant: string;
  title: string;
  seeds: {
    seed: number;
    model: string;
    /** Mean over patterns, of this seed alone. */
    accuracy: Partial<Record<Measure, Estimate>>;
    loss?: number;
    validation?: number;
    seconds?: number;
  }[];
  /** None where there are no such items. */
  accuracy: Partial<Record<Measure, Accuracy>>;
  said: SaidShares;
  /** Where the plan asks for it, of models with a diffusion encoder. */
  leakage?: ToldFindings;
}

/** How two variants compare on the same items. */
export interface Compared {
  /** Mean over patterns. */
  macro: Estimate;
  patterns: Record<string, Estimate>;
  /** McNemar's test of each seed that both have, over all items. */
  seeds: { seed: number; onlyFirst: number; onlySecond: number; p: number }[];
}

export interface SweepContrast {
  first: string;
  second: string;
  compared: Partial<Record<Measure, Compared>>;
  /** Less the second's. */
  leakage?: ToldFindings;
}

export interface SweepFindings {
  variants: VariantFindings[];
  contrasts: SweepContrast[];
}

/** A model that was judged, whether or not a sweep has trained it. */
export type JudgedOutcome = Omit<SweepOutcome, "training"> & Partial<Pick<SweepOutcome, "training">>;

/** Finds out what finished runs tell. */
export function findingsOf(
  plan: Pick<SweepPlan, "baseline" | "contrasts"> & {
    variants: Readonly<Record<string, Pick<SweepVariant, "title">>>;
  },
  outcomes: readonly JudgedOutcome[],
): SweepFindings {
  const byVariant = new Map(
    Object.keys(plan.variants).flatMap((variant) => {
      const those = outcomes.filter((one) => one.variant === variant);
      return those.length > 0 ? [[variant, those] as const] : [];
    }),
  );
  const byMeasure = new Map(
    [...byVariant].map(([variant, those]) => [
      variant,
      Object.fromEntries(measures.map((measure) => [measure, gradedBy(those, measure)])) as Record<
        Measure,
        Graded
      >,
    ]),
  );
  const title = (variant: string) => plan.variants[variant]!.title ?? variant;
  const variants = [...byVariant].map(([variant, those]): VariantFindings => {
    const own = byMeasure.get(variant)!;
    const leakage = toldFindings(leakagesOf(those));
    return {
      variant,
      title: title(variant),
      seeds: those.map(({ seed, model, training }, run) => ({
        seed,
        model,
        accuracy: asked(own, ({ patterns, runs }) => crossedMean([runs[run]!], patterns)),
        ...training,
      })),
      accuracy: asked(own, gradedAccuracy),
      said: saidBy(those),
      ...(leakage && { leakage }),
    };
  });
  const pairs = [
    ...Object.keys(plan.variants)
      .filter((variant) => variant !== plan.baseline)
      .map((variant) => [variant, plan.baseline] as const),
    ...plan.contrasts,
  ];
  const contrasts = pairs.flatMap(([first, second]): SweepContrast[] => {
    const [a, b] = [byMeasure.get(first), byMeasure.get(second)];
    if (!a || !b) return [];
    const seeds = (variant: string) => byVariant.get(variant)!.map(({ seed }) => seed);
    const compared = asked(a, (own, measure) => compare(own, b[measure], [seeds(first), seeds(second)]));
    const [one, other] = [first, second].map((variant) => leakagesOf(byVariant.get(variant)!));
    const leakage = comparedTold(one!, other!);
    return [{ first: title(first), second: title(second), compared, ...(leakage && { leakage }) }];
  });
  return { variants, contrasts };
}

const leakagesOf = (outcomes: readonly JudgedOutcome[]) => outcomes.map(({ judgement }) => judgement.leakage);

/** A value for each measure of which there are items. */
function asked<T>(
  graded: Readonly<Record<Measure, Graded>>,
  of: (graded: Graded, measure: Measure) => T,
): Partial<Record<Measure, T>> {
  const there = measures.filter((measure) => graded[measure].patterns.length > 0);
  return Object.fromEntries(there.map((measure) => [measure, of(graded[measure], measure)]));
}

function gradedBy(outcomes: readonly JudgedOutcome[], measure: Measure): Graded {
  const lists = outcomes.map(({ judgement: { answers, firstTwins, blind } }): readonly Outcome[] => {
    if (measure === "test" || measure === "unseen") return answers[measure];
    const blindOnes = new Set(blind.filter((one) => one.blind).map(({ pair }) => pair));
    const counts = (pair: number) => (measure === "twins" ? pair < firstTwins : blindOnes.has(pair));
    return pairsOf(answers.twins).filter(({ pair }) => counts(pair));
  });
  return graded(lists);
}

function compare(
  first: Graded,
  second: Graded,
  [firstSeeds, secondSeeds]: readonly [readonly number[], readonly number[]],
): Compared {
  const seeds = firstSeeds.flatMap((seed, i) => {
    const j = secondSeeds.indexOf(seed);
    return j === -1 ? [] : [{ seed, ...mcnemar(first.runs[i]!, second.runs[j]!) }];
  });
  return { ...gradedDifference(first, second), seeds };
}

function mcnemar(first: ArrayLike<number>, second: ArrayLike<number>) {
  let [onlyFirst, onlySecond] = [0, 0];
  for (let i = 0; i < first.length; i++) {
    onlyFirst += Number(first[i]! > second[i]!);
    onlySecond += Number(first[i]! < second[i]!);
  }
  return { onlyFirst, onlySecond, p: binomialTest(onlyFirst, onlyFirst + onlySecond) };
}

function saidBy(outcomes: readonly JudgedOutcome[]): SaidShares {
  const lists = outcomes.map(({ judgement }) => judgement.answers.test);
  const patterns = lists[0]!.map(({ pattern }) => pattern);
  const share = (said: string) =>
    crossedMean(
      lists.map((list) => Uint8Array.from(list, (one) => Number(one.said === said))),
      patterns,
    );
  return { right: share("right"), other: share("other") };
}
