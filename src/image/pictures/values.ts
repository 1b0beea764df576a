/** @file The numbers of a picture: planes, ranges, percentiles and how they are written. */

import { failure, formatDims, misuse, type Tensor } from "../../tensor/index.js";

/**
 * Which numbers the two ends of a colour map stand for: the smallest and largest; 0 and the largest; the 1st and 99th
 * percentile, so that single outliers do not dim the rest; or two numbers.
 */
export type Normalise = "minmax" | "max" | "robust" | readonly [min: number, max: number];

export interface Range {
  min: number;
  max: number;
}

/** A map's numbers with its size. Axes of size 1 before the last two are dropped. */
export function plane(map: Tensor): { values: Float32Array; width: number; height: number } {
  const [height, width] = map.dims.slice(-2);
  if (!height || !width || map.size !== height * width) {
    throw misuse("SHAPE", `A map has the shape [height, width], not ${formatDims(map.dims)}.`);
  }
  return { values: map.toFloat32(), width, height };
}

/** The range of several maps that share a scale. Numbers that are not finite do not count. */
export function valueRange(maps: readonly Float32Array[], normalise: Normalise): Range {
  if (typeof normalise !== "string") {
    const [min, max] = normalise;
    if (!(min <= max))
      throw misuse("RANGE", `A range runs from its smaller number to its larger, not ${min} to ${max}.`);
    return { min, max };
  }
  if (normalise === "robust") {
    const sorted = sortedFinite(maps);
    return { min: percentile(sorted, 1), max: percentile(sorted, 99) };
  }
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of finite(maps)) {
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  if (min > max) return { min: 0, max: 0 };
  return { min: normalise === "max" ? 0 : min, max };
}

function* finite(maps: readonly Float32Array[]): Generator<number> {
  for (const values of maps) for (const value of values) if (Number.isFinite(value)) yield value;
}

/** All finite numbers of several maps in ascending order. */
export function sortedFinite(maps: readonly Float32Array[]): Float32Array {
  return Float32Array.from(finite(maps)).sort();
}

/** Linear between the two nearest, as numpy's default; 0 when there are no numbers. */
export function percentile(sorted: Float32Array, percent: number): number {
  if (sorted.length === 0) return 0;
  const position = (percent / 100) * (sorted.length - 1);
  const before = sorted[Math.floor(position)]!;
  return before + (sorted[Math.ceil(position)]! - before) * (position % 1);
}

/** Refuses numbers that are not finite, which no sum or angle survives. */
export function requireFinite(values: Float32Array, what: string): void {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0)
    throw failure(
      "NOT_FINITE",
      `${what} holds ${values[at]} at position ${at}: only finite numbers can be drawn.`,
    );
}

/** A number for people: three significant digits, a true minus, powers of ten only where they help. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const plain = size === 0 || (size >= 1e-3 && size < 1e5);
  const text = plain
    ? String(size < 100 ? Number(value.toPrecision(3)) : Math.round(value))
    : value.toExponential(1);
  return text.replace("e+", "e").replaceAll("-", "−");
}

/** The two ends of a scale with as many decimals as its larger one needs for three digits. */
export function formatRange({ min, max }: Range): { low: string; high: string } {
  const size = Math.max(Math.abs(min), Math.abs(max));
  const exponent = Number(size.toExponential(2).split("e")[1]);
  if (!(exponent >= -3 && exponent < 5)) return { low: formatNumber(min), high: formatNumber(max) };
  const rounded = (value: number) =>
    String(Number(value.toFixed(Math.max(2 - exponent, 0)))).replace("-", "−");
  return { low: rounded(min), high: rounded(max) };
}
