/** @file What every sampler offers, and the timesteps that it steps through. */

import { z } from "zod";
import { misuse, Tensor } from "../../tensor/index.js";
import type { PredictionType } from "./schedule.js";

/** A sampler: from noise to a latent in a number of steps. `timesteps` begins a new run. */
export interface Scheduler {
  /** The timesteps of a run, from noisy to clean. They need not be whole numbers. */
  timesteps(steps: number): number[];
  /** What the first noise is multiplied with; known after `timesteps`. */
  readonly initNoiseSigma: number;
  /** What the U-Net sees of the sample at step i. */
  scaleInput(sample: Tensor, i: number): Tensor;
  /** The sample after step i, given the U-Net's prediction. Steps are taken in order. */
  step(prediction: Tensor, i: number, sample: Tensor): Tensor;
}

export const spacing = z.enum(["linspace", "leading", "trailing"]);
export type Spacing = z.infer<typeof spacing>;

/** numpy's rounding: halves to even. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** `count` numbers from 0 to `last`, both included, in double precision. */
export function evenly(last: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => (count === 1 ? 0 : (i * last) / (count - 1)));
}

/** Timesteps from clean to noisy by steps of trained / steps: 0, r, 2 r ... */
export function leadingSteps(ratio: number, count: number, offset: number): number[] {
  return Array.from({ length: count }, (_, i) => i * ratio + offset);
}

/** Timesteps from noisy to clean that begin at the very end. */
export function trailingSteps(trained: number, steps: number): number[] {
  const ratio = trained / steps;
  return Array.from(
    { length: Math.ceil(trained / ratio - 1e-9) },
    (_, i) => roundHalfEven(trained - i * ratio) - 1,
  );
}

/** @throws DiffsightError STEPS */
export function checkSteps(steps: number, trained: number): void {
  if (!Number.isInteger(steps) || steps < 1 || steps > trained) {
    throw misuse("STEPS", `steps must be a whole number from 1 to ${trained}, not ${steps}.`);
  }
}

/** Σ weight * tensor, in double precision, rounded once. */
export function combine(...terms: readonly (readonly [weight: number, tensor: Tensor])[]): Tensor {
  const data = new Float32Array(terms[0]![1].size);
  const sources = terms.map(([weight, tensor]) => ({ weight, values: tensor.toFloat32() }));
  for (let i = 0; i < data.length; i++) {
    let sum = 0;
    for (const { weight, values } of sources) sum += weight * values[i]!;
    data[i] = sum;
  }
  return Tensor.f32(terms[0]![1].dims, data);
}

/**
 * The clean latent that a prediction implies: sample = alpha x + sigma ε.
 * @param alpha share of the latent
 * @param sigma share of the noise
 */
export function predictedClean(
  type: PredictionType,
  prediction: Tensor,
  sample: Tensor,
  alpha: number,
  sigma: number,
): Tensor {
  if (type === "sample") return prediction;
  if (type === "v_prediction") return combine([alpha, sample], [-sigma, prediction]);
  return combine([1 / alpha, sample], [-sigma / alpha, prediction]);
}

/** The noise that a prediction implies. */
export function predictedNoise(
  type: PredictionType,
  prediction: Tensor,
  sample: Tensor,
  alpha: number,
  sigma: number,
): Tensor {
  if (type === "epsilon") return prediction;
  if (type === "v_prediction") return combine([alpha, prediction], [sigma, sample]);
  return combine([1 / sigma, sample], [-alpha / sigma, prediction]);
}

/** Linear interpolation in a table by a fractional index. */
export function interpolateAt(table: ArrayLike<number>, index: number): number {
  const below = Math.min(Math.floor(index), table.length - 1);
  const above = Math.min(below + 1, table.length - 1);
  return table[below]! + (index - below) * (table[above]! - table[below]!);
}

/** sqrt((1 - ᾱ) / ᾱ) by timestep. */
export function sigmasOf(alphasCumprod: Float32Array): Float64Array {
  return Float64Array.from(alphasCumprod, (left) => Math.sqrt((1 - left) / left));
}
