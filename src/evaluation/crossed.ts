/**
 * @file Runs of several seeds that answered the same items: means and differences whose intervals cover both what
 * training by chance makes of a model and which items happened to be asked.
 */

import { misuse } from "../tensor/index.js";
import { type Estimate, share, z95 } from "./statistics.js";

/** Outcomes of one way: of each run (a seed) a number for each item, such as 1 for right and 0 for wrong. */
export type Runs = readonly ArrayLike<number>[];

/** A way's runs, and how they count in a contrast. */
interface Arm {
  sign: 1 | -1;
  runs: Runs;
}

/** A value and half the width of its 95 % interval. */
interface Known {
  value: number;
  half: number;
}

/**
 * The mean over patterns of the share of right answers, with a 95 % interval over seeds and items: Wilson's, for as many
 * independent answers as would be so sure. With one run it covers the items alone.
 * @param strata the pattern of each item: each counts alike
 * @throws DiffsightError SHAPE when runs and items differ in number
 */
export function crossedMean(runs: Runs, strata: readonly string[]): Estimate {
  const { value, half } = crossed([{ sign: 1, runs }], strata);
  const count = strata.length;
  const variance = (half / z95) ** 2;
  // Where all are right, or none, as many as there are items.
  const effective = variance === 0 ? count : Math.max(1, Math.round((value * (1 - value)) / variance));
  const { low, high } = share(value * effective, effective);
  return { value, low, high, count };
}

/**
 * The mean of any numbers, with a 95 % interval over seeds and items.
 * @param runs of each run a number for each item
 */
export function crossedValue(runs: Runs): Estimate {
  const items = Array<string>(runs[0]?.length ?? 0).fill("");
  const { value, half } = crossed([{ sign: 1, runs }], items);
  return { value, low: value - half, high: value + half, count: items.length };
}

/**
 * By how much one way is right more often than another, on the same items, with a 95 % interval over both ways' seeds
 * and the items. Items are paired, seeds are not.
 * @param strata the pattern of each item: each counts alike
 */
export function crossedDifference(first: Runs, second: Runs, strata: readonly string[]): Estimate {
  const arms: Arm[] = [
    { sign: 1, runs: first },
    { sign: -1, runs: second },
  ];
  const { value, half } = crossed(arms, strata);
  return { value, low: value - half, high: value + half, count: strata.length };
}

/**
 * The mean of a crossed design, seeds by items, both drawn at random. Its variance has two parts: that of the seeds'
 * means, known as badly as there are few seeds (Student's t, for two ways Welch's), and that of the items' means less
 * the noise which the first part holds already (normal: items are many). Half widths add in squares.
 */
function crossed(arms: readonly Arm[], strata: readonly string[]): Known {
  const items = itemsOf(strata);
  for (const run of arms.flatMap(({ runs }) => runs)) {
    if (run.length === strata.length && run.length > 0) continue;
    throw misuse("SHAPE", `A run of ${run.length} answers does not fit ${strata.length} items.`);
  }
  if (arms.some(({ runs }) => runs.length === 0)) throw misuse("RANGE", "A mean needs at least one run.");
  const patterns = items.length;
  const itemMeans = arms.map(({ runs }) => meansOfItems(runs));
  let [value, asked] = [0, 0];

  // 1. Which items are asked, pattern by pattern
  for (const those of items) {
    const effects = those.map((i) =>
      arms.reduce((sum, { sign }, arm) => sum + sign * itemMeans[arm]![i]!, 0),
    );
    value += mean(effects) / patterns;
    asked += sampleVariance(effects) / those.length / patterns ** 2;
  }

  // 2. What the seeds make of it
  let [trained, doubt] = [0, 0];
  for (const [arm, { runs }] of arms.entries()) {
    const count = runs.length;
    if (count < 2) continue;
    const byPattern = items.map((those) => runs.map((run) => meanAt(run, those)));
    const means = runs.map((_, run) => mean(byPattern.map((those) => those[run]!)));
    const between = sampleVariance(means) / count;
    const noise = items.map(
      (those, p) => residual(runs, those, byPattern[p]!, itemMeans[arm]!) / (count * those.length),
    );
    asked -= mean(noise) / patterns;
    trained += between;
    doubt += between ** 2 / (count - 1);
  }
  const quantile = doubt > 0 ? studentQuantile(trained ** 2 / doubt) : 0;
  return { value, half: Math.sqrt(z95 ** 2 * Math.max(0, asked) + quantile ** 2 * trained) };
}

/** Mean square of what neither the run nor the item explains. */
function residual(
  runs: Runs,
  items: readonly number[],
  runMeans: readonly number[],
  itemMeans: ArrayLike<number>,
): number {
  if (items.length < 2) return 0;
  const all = mean(runMeans);
  let squares = 0;
  for (const [s, run] of runs.entries()) {
    const own = runMeans[s]! - all;
    for (const i of items) squares += (run[i]! - own - itemMeans[i]!) ** 2;
  }
  return squares / ((runs.length - 1) * (items.length - 1));
}

/** Over the runs, of each item. */
function meansOfItems(runs: Runs): Float64Array {
  const means = new Float64Array(runs[0]!.length);
  for (const run of runs) for (let i = 0; i < means.length; i++) means[i]! += run[i]! / runs.length;
  return means;
}

function meanAt(values: ArrayLike<number>, places: readonly number[]): number {
  let sum = 0;
  for (const i of places) sum += values[i]!;
  return sum / places.length;
}

/** The items of each stratum. */
function itemsOf(strata: readonly string[]): number[][] {
  const found = new Map<string, number[]>();
  for (const [i, name] of strata.entries()) {
    const those = found.get(name);
    if (those) those.push(i);
    else found.set(name, [i]);
  }
  return [...found.values()];
}

const mean = (values: readonly number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;

/** 0 of a single value. */
function sampleVariance(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const centre = mean(values);
  return values.reduce((sum, one) => sum + (one - centre) ** 2, 0) / (values.length - 1);
}

/** Above this many degrees of freedom a normal distribution is near enough. */
const manyDegrees = 2000;
const pieces = 5000;

/**
 * Within how many standard deviations 95 % of Student's t lie.
 * @param degrees of freedom, from 1, not only whole ones
 */
export function studentQuantile(degrees: number): number {
  if (degrees >= manyDegrees) return z95;
  // With t = √ν tan θ the density is proportional to cos^(ν-1) θ, over 0 to π/2.
  const end = Math.min(Math.PI / 2, 14 / Math.sqrt(degrees));
  const step = end / pieces;
  const sums = new Float64Array(pieces + 1);
  for (let i = 0; i < pieces; i++) sums[i + 1] = sums[i]! + Math.cos((i + 0.5) * step) ** (degrees - 1);
  const wanted = 0.95 * sums[pieces]!;
  const i = sums.findIndex((sum) => sum >= wanted);
  const theta = step * (i - (sums[i]! - wanted) / (sums[i]! - sums[i - 1]!));
  return Math.sqrt(degrees) * Math.tan(theta);
}
