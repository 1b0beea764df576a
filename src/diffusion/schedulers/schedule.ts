/** @file The noise schedule: how much of a latent is left at each timestep (diffusers' `scheduler_config.json`). */

import { z } from "zod";
import { failure, formatDims, misuse, Tensor } from "../../tensor/index.js";

const classes = [
  "DDIMScheduler",
  "DDPMScheduler",
  "PNDMScheduler",
  "LMSDiscreteScheduler",
  "EulerDiscreteScheduler",
  "EulerAncestralDiscreteScheduler",
  "DPMSolverMultistepScheduler",
  "DPMSolverSinglestepScheduler",
  "UniPCMultistepScheduler",
  "HeunDiscreteScheduler",
] as const;

const scheduleSchema = z.looseObject({
  _class_name: z.enum(classes).optional(),
  num_train_timesteps: z.number().int().min(1).max(100_000).default(1000),
  beta_start: z.number().positive().default(0.0001),
  beta_end: z.number().positive().default(0.02),
  beta_schedule: z.enum(["linear", "scaled_linear", "squaredcos_cap_v2"]).default("linear"),
  trained_betas: z.array(z.number()).nullish(),
  prediction_type: z.enum(["epsilon", "v_prediction", "sample"]).default("epsilon"),
  rescale_betas_zero_snr: z.boolean().default(false),
});

export type PredictionType = z.infer<typeof scheduleSchema>["prediction_type"];

export interface NoiseSchedule {
  /** ᾱ: the share of the latent's variance that is left, by timestep. */
  alphasCumprod: Float32Array;
  /** What the U-Net predicts. */
  predictionType: PredictionType;
}

/** Reads some fields of a scheduler's config. @throws DiffsightError CONFIG that names the fields */
export function readFields<T>(schema: z.ZodType<T>, config: unknown): T {
  const result = schema.safeParse(config);
  if (result.success) return result.data;
  const issues = result.error.issues.map(
    ({ path, message }) => `${path.join(".") || "the file"}: ${message}`,
  );
  throw failure("CONFIG", `Scheduler config is not supported: ${issues.join("; ")}`);
}

/**
 * ᾱ as torch computes it: betas in f32, their products in f64, rounded once.
 * @param config `scheduler_config.json`; defaults are diffusers'
 * @throws DiffsightError CONFIG
 */
export function noiseSchedule(config: unknown): NoiseSchedule {
  const c = readFields(scheduleSchema, config);
  let betas = c.trained_betas ? Float32Array.from(c.trained_betas) : betasOf(c);
  if (c.rescale_betas_zero_snr) betas = rescaleZeroSnr(betas);
  return {
    alphasCumprod: cumulativeProducts(betas.map((beta) => 1 - beta)),
    predictionType: c.prediction_type,
  };
}

function betasOf(c: z.infer<typeof scheduleSchema>): Float32Array {
  const steps = c.num_train_timesteps;
  if (c.beta_schedule === "linear") return linspace(c.beta_start, c.beta_end, steps);
  if (c.beta_schedule === "scaled_linear") {
    return linspace(Math.sqrt(c.beta_start), Math.sqrt(c.beta_end), steps).map((root) => root * root);
  }
  // Nichol & Dhariwal 2021, eq. 17
  const left = (time: number) => Math.cos(((time + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
  return Float32Array.from({ length: steps }, (_, i) =>
    Math.min(1 - left((i + 1) / steps) / left(i / steps), 0.999),
  );
}

/** torch.linspace in f32: from both ends towards the middle. */
export function linspace(start: number, end: number, steps: number): Float32Array {
  if (steps === 1) return Float32Array.of(start);
  const [first, last] = [Math.fround(start), Math.fround(end)];
  const step = Math.fround((last - first) / (steps - 1));
  return Float32Array.from({ length: steps }, (_, i) =>
    i < steps / 2 ? first + step * i : last - step * (steps - 1 - i),
  );
}

function cumulativeProducts(values: Float32Array): Float32Array {
  let product = 1;
  return values.map((value) => (product *= value));
}

/** Shifts and scales the schedule so that nothing of the latent is left at its end (Lin et al. 2023, algorithm 1). */
function rescaleZeroSnr(betas: Float32Array): Float32Array {
  const roots = cumulativeProducts(betas.map((beta) => 1 - beta)).map(Math.sqrt);
  const first = roots[0]!;
  const last = roots.at(-1)!;
  const shifted = roots.map(
    (root) => Math.fround(root - last) * Math.fround(first / Math.fround(first - last)),
  );
  const squares = shifted.map((root) => root * root);
  return squares.map((square, i) => 1 - (i === 0 ? square : square / squares[i - 1]!));
}

function leftAt(t: number, { alphasCumprod }: NoiseSchedule): number {
  if (!Number.isInteger(t) || t < 0 || t >= alphasCumprod.length) {
    throw misuse(
      "TIMESTEP",
      `Timestep ${t} is outside the schedule: whole numbers from 0 to ${alphasCumprod.length - 1} are allowed.`,
    );
  }
  return alphasCumprod[t]!;
}

function mix(a: Tensor, scaleA: number, b: Tensor, scaleB: number): Tensor {
  if (formatDims(a.dims) !== formatDims(b.dims)) {
    throw failure("SHAPE", `A latent ${formatDims(a.dims)} does not take noise ${formatDims(b.dims)}.`);
  }
  const [x, y] = [a.toFloat32(), b.toFloat32()];
  const [p, q] = [Math.fround(scaleA), Math.fround(scaleB)];
  return Tensor.f32(
    a.dims,
    x.map((value, i) => Math.fround(p * value) + Math.fround(q * y[i]!)),
  );
}

/**
 * Adds noise to a latent: sqrt(ᾱ_t) x + sqrt(1 - ᾱ_t) ε.
 * @param latent already scaled by the VAE's scaling_factor
 * @param t literal index into ᾱ
 * @throws DiffsightError TIMESTEP when t is outside the schedule
 * @see Ho et al. 2020, eq. 4
 */
export function addNoise(latent: Tensor, noise: Tensor, t: number, schedule: NoiseSchedule): Tensor {
  const left = leftAt(t, schedule);
  return mix(latent, Math.sqrt(left), noise, Math.sqrt(Math.fround(1 - left)));
}

/**
 * What a v-predicting network is taught: sqrt(ᾱ_t) ε - sqrt(1 - ᾱ_t) x.
 * @see Salimans & Ho 2022
 */
export function velocity(latent: Tensor, noise: Tensor, t: number, schedule: NoiseSchedule): Tensor {
  const left = leftAt(t, schedule);
  return mix(noise, Math.sqrt(left), latent, -Math.sqrt(Math.fround(1 - left)));
}
