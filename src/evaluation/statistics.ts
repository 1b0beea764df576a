/** @file Numbers with their uncertainty: intervals of shares and means, and tests of two ways on the same items. */

import { misuse, TorchGenerator } from "../tensor/index.js";

/** An estimate and the bounds of its confidence interval. */
export interface Estimate {
  value: number;
  low: number;
  high: number;
  /** How many items it was taken from. */
  count: number;
}

/** Whether an interval leaves zero out. */
export const leavesError = ({ low, high }: Estimate): boolean => low > 0 || high < 0;

/** Of a normal distribution: 95 % lie within this many standard deviations. */
export const z95 = 1.959963984540054;

/**
 * A share of successes with Wilson's interval, which is right for few items and for shares near 0 and 1.
 * @param z bounds in standard deviations; default 95 %
 * @throws DiffsightError RANGE when the counts are none
 * @see Wilson 1927
 */
export function share(successes: number, count: number, z = z95): Estimate {
  if (!Number.isInteger(count) || count < 1 || !(successes >= 0 && successes <= count)) {
    throw misuse("RANGE", `${successes} of ${count} is no share: at least one item is needed.`);
  }
  const p = successes / count;
  const z2 = (z * z) / count;
  const centre = (p + z2 / 2) / (1 + z2);
  const half = (z * Math.sqrt((p * (1 - p) + z2 / 4) / count)) / (1 + z2);
  return {
    value: p,
    low: successes === 0 ? 0 : centre - half,
    high: successes === count ? 1 : centre + half,
    count,
  };
}

export interface BootstrapOptions {
  /** Default 2000. */
  resamples?: number;
  seed?: number;
  /** Default 0.95. */
  confidence?: number;
  /** From `resample`, of the same count: drawn once for many numbers of the same items. */
  draws?: readonly Int32Array[];
}

/** So many samples of as many items as there are, drawn with replacement: their indices. */
export function resample(
  count: number,
  { resamples = 2000, seed = 0 }: Pick<BootstrapOptions, "resamples" | "seed"> = {},
): Int32Array[] {
  if (!Number.isInteger(count) || count < 1) throw misuse("RANGE", `${count} items cannot be resampled.`);
  const random = new TorchGenerator(seed);
  return Array.from({ length: resamples }, () =>
    Int32Array.from(random.randint(0, count, [count]).data as BigInt64Array, Number),
  );
}

/**
 * What a statistic of a sample comes to, with a percentile interval over resampled items.
 * @param statistic gets the chosen items' indices; an item may come several times
 * @see Efron 1979
 */
export function bootstrap(
  count: number,
  statistic: (indices: Int32Array) => number,
  { confidence = 0.95, draws, ...options }: BootstrapOptions = {},
): Estimate {
  const values = Float64Array.from(draws ?? resample(count, options), (indices) => statistic(indices));
  const value = statistic(Int32Array.from({ length: count }, (_, i) => i));
  values.sort();
  return {
    value,
    low: quantile(values, (1 - confidence) / 2),
    high: quantile(values, (1 + confidence) / 2),
    count,
  };
}

/** Between the two nearest of sorted values, linearly. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  const at = (sorted.length - 1) * q;
  const below = sorted[Math.floor(at)]!;
  return below + (sorted[Math.ceil(at)]! - below) * (at - Math.floor(at));
}

/** The mean of values, each of which stands for one item, with a bootstrap interval. */
export function meanOf(values: ArrayLike<number>, options?: BootstrapOptions): Estimate {
  return bootstrap(values.length, (indices) => average(values, indices), options);
}

function average(values: ArrayLike<number>, indices: Int32Array): number {
  let sum = 0;
  for (const i of indices) sum += values[i]!;
  return sum / indices.length;
}

/** How two ways compare on the same items. */
export interface PairedComparison {
  /** The first's mean less the second's, with a bootstrap interval over items. */
  difference: Estimate;
  /** Items that only the first has right. */
  onlyFirst: number;
  onlySecond: number;
  /** Two-sided, exact: how often chance alone would split them at least so unevenly (McNemar). */
  p: number;
}

/**
 * Compares two ways that answered the same items; paired, as a share of one item is no less sure for being hard.
 * @param first whether each item was right; pairs count as one item
 * @see McNemar 1947
 */
export function compare(
  first: readonly boolean[],
  second: readonly boolean[],
  options?: BootstrapOptions,
): PairedComparison {
  if (first.length !== second.length) {
    throw misuse("SHAPE", `${first.length} items cannot be paired with ${second.length}.`);
  }
  const differences = Int8Array.from(first, (right, i) => Number(right) - Number(second[i]));
  const onlyFirst = differences.reduce((sum, one) => sum + Number(one > 0), 0);
  const onlySecond = differences.reduce((sum, one) => sum + Number(one < 0), 0);
  return {
    difference: meanOf(differences, options),
    onlyFirst,
    onlySecond,
    p: binomialTest(onlyFirst, onlyFirst + onlySecond),
  };
}

/** Two-sided p-value of `successes` heads of a fair coin in `count` throws; 1 when nothing was thrown. */
export function binomialTest(successes: number, count: number): number {
  const few = Math.min(successes, count - successes);
  let logTerm = -count * Math.LN2;
  let tail = 0;
  for (let k = 0; k <= few; k++) {
    tail += Math.exp(logTerm);
    logTerm += Math.log((count - k) / (k + 1));
  }
  return Math.min(1, 2 * tail);
}

/** The mean of shares of separate items (a macro mean), by the normal approximation of their intervals; 0 to 1. */
export function macroMean(estimates: readonly Estimate[]): Estimate {
  if (estimates.length === 0) throw misuse("RANGE", "A mean needs at least one estimate.");
  const n = estimates.length;
  const value = estimates.reduce((sum, one) => sum + one.value, 0) / n;
  const spread = Math.sqrt(estimates.reduce((sum, one) => sum + ((one.high - one.low) / 2) ** 2, 0)) / n;
  return {
    value,
    low: Math.max(0, value - spread),
    high: Math.min(1, value + spread),
    count: estimates.reduce((sum, one) => sum + one.count, 0),
  };
}
