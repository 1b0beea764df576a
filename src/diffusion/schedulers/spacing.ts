/** @file Which of the trained timesteps a run of few steps visits (Lin et al. 2023, table 2). */

import { misuse } from "../../tensor/index.js";

export const spacings = ["linspace", "leading", "trailing"] as const;
export type Spacing = (typeof spacings)[number];

/** @throws STEPS unless steps is an integer from `least` to the number of trained timesteps */
export function checkSteps(steps: number, trained: number, least = 1): void {
  if (!Number.isInteger(steps) || steps < least || steps > trained) {
    throw misuse(
      "STEPS",
      `${steps} steps are not possible: whole numbers from ${least} to ${trained} are allowed.`,
    );
  }
}

/**
 * @param steps what was asked for: the network may be asked oftener
 * @throws STEPS when a timestep lies outside the schedule, as `steps_offset` may bring about
 */
export function checkTimesteps(timesteps: readonly number[], steps: number, trained: number): void {
  const outside = timesteps.find((t) => t < 0 || t > trained - 1);
  if (outside !== undefined) {
    throw misuse(
      "STEPS",
      `${steps} steps visit timestep ${outside}, outside 0 to ${trained - 1}: take fewer steps.`,
    );
  }
}

/** Timesteps in descending order; those of linspace are not rounded. */
export function spacedTimesteps(
  steps: number,
  { spacing, trained, offset }: { spacing: Spacing; trained: number; offset: number },
): number[] {
  switch (spacing) {
    case "linspace":
      return linspace(0, trained - 1, steps).reverse();
    case "leading":
      return leading(steps, Math.floor(trained / steps), offset);
    case "trailing":
      return trailing(trained, trained / steps);
  }
}

/** Multiples of a stride from 0 on, moved by an offset. */
export function leading(steps: number, stride: number, offset: number): number[] {
  return Array.from({ length: steps }, (_, i) => (steps - 1 - i) * stride + offset);
}

/**
 * From the last timestep down by a stride. `numpy.arange` takes as its step the difference of its first two numbers;
 * for some strides (61 steps of 1000) it also counts one number too many, a timestep of -1, which is left out here.
 */
export function trailing(from: number, stride: number): number[] {
  const step = from - stride - from;
  const count = Math.ceil(from / stride);
  return Array.from({ length: count }, (_, i) => roundHalfEven(from + i * step) - 1).filter((t) => t >= 0);
}

/** `numpy.linspace`. */
export function linspace(start: number, stop: number, count: number): number[] {
  const step = (stop - start) / (count - 1);
  return Array.from({ length: count }, (_, i) =>
    i > 0 && i === count - 1 ? stop : i === 0 ? start : i * step + start,
  );
}

/** `numpy.round`. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}
