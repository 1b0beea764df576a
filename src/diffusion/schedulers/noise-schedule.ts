/** @file How much noise each timestep carries: betas and their cumulative products, and noising by them. */

import { misuse, Tensor } from "../../tensor/index.js";
import { choice, flag, integer, number, refuse, type SchedulerConfig, unsupported } from "./config.js";
import { combine, f32 } from "./float32.js";

export const predictionTypes = ["epsilon", "v_prediction", "sample"] as const;
export type PredictionType = (typeof predictionTypes)[number];

export interface NoiseSchedule {
  /** β_t by timestep */
  betas: Float32Array;
  /** ᾱ_t by timestep: the share of the clean latent's variance that is left */
  alphasCumprod: Float32Array;
  /** What the U-Net predicts: the noise, the velocity or the clean latent. */
  predictionType: PredictionType;
}

const betaSchedules = ["linear", "scaled_linear", "squaredcos_cap_v2"] as const;

interface BetaDefaults {
  start: number;
  end: number;
  schedule: (typeof betaSchedules)[number];
}

const usual: BetaDefaults = { start: 0.0001, end: 0.02, schedule: "linear" };
const stable: BetaDefaults = { start: 0.00085, end: 0.012, schedule: "scaled_linear" };
const halfway: BetaDefaults = { start: 0.00085, end: 0.012, schedule: "linear" };

/** The schedulers of diffusers that noise by betas, with what each assumes where its config is silent. */
const classes: Readonly<Record<string, BetaDefaults>> = {
  DDIMParallelScheduler: usual,
  DDIMScheduler: usual,
  DDPMParallelScheduler: usual,
  DDPMScheduler: usual,
  DEISMultistepScheduler: usual,
  DPMSolverMultistepScheduler: usual,
  DPMSolverSinglestepScheduler: usual,
  EulerAncestralDiscreteScheduler: usual,
  EulerDiscreteScheduler: usual,
  HeunDiscreteScheduler: halfway,
  KDPM2AncestralDiscreteScheduler: halfway,
  KDPM2DiscreteScheduler: halfway,
  LCMScheduler: stable,
  LMSDiscreteScheduler: usual,
  PNDMScheduler: usual,
  TCDScheduler: stable,
  UniPCMultistepScheduler: usual,
};

/**
 * The noise schedule that a scheduler_config.json describes, in f32 as torch computes it.
 * @throws CONFIG naming the field that is not supported (flow matching has no such schedule)
 */
export function noiseSchedule(config: SchedulerConfig): NoiseSchedule {
  const defaults = betaDefaults(config);
  refuse(config, "use_flow_sigmas");

  const steps = integer(config, "num_train_timesteps", 1000, [1, 100_000]);
  let betas = trainedBetas(config, steps) ?? betasOf(config, steps, defaults);
  if (flag(config, "rescale_betas_zero_snr", false)) betas = rescaleToZeroSnr(betas);
  return {
    betas,
    alphasCumprod: cumulativeAlphas(betas),
    predictionType: choice(config, "prediction_type", predictionTypes, "epsilon"),
  };
}

/**
 * Adds noise to a latent: sqrt(ᾱ_t) x + sqrt(1 - ᾱ_t) ε.
 * @param latent [B, C, h, w], already scaled by the VAE's scaling_factor
 * @param noise of the latent's shape
 * @param t literal index into ᾱ, 0 .. 999, or one for each of the B images
 * @throws TIMESTEP when t is outside the schedule
 * @see Ho et al. 2020, eq. 4
 */
export function addNoise(
  latent: Tensor,
  noise: Tensor,
  t: number | readonly number[],
  schedule: NoiseSchedule,
): Tensor {
  return byImage(latent, noise, t, schedule, (x, ε, signal, strength) => combine([signal, x], [strength, ε]));
}

/**
 * What a v-prediction network learns to predict: sqrt(ᾱ_t) ε - sqrt(1 - ᾱ_t) x.
 * @param latent [B, C, h, w]
 * @param t literal index into ᾱ, or one for each of the B images
 * @throws TIMESTEP when t is outside the schedule
 * @see Salimans and Ho 2022, appendix D
 */
export function velocity(
  latent: Tensor,
  noise: Tensor,
  t: number | readonly number[],
  schedule: NoiseSchedule,
): Tensor {
  return byImage(latent, noise, t, schedule, (x, ε, signal, strength) =>
    combine([signal, ε], [-strength, x]),
  );
}

function byImage(
  latent: Tensor,
  noise: Tensor,
  t: number | readonly number[],
  { alphasCumprod }: NoiseSchedule,
  mix: (latent: Tensor, noise: Tensor, signal: number, strength: number) => Tensor,
): Tensor {
  const one = (x: Tensor, ε: Tensor, timestep: number): Tensor => {
    const alpha = alphasCumprod[timestep];
    if (alpha === undefined) {
      const last = alphasCumprod.length - 1;
      throw misuse(
        "TIMESTEP",
        `Timestep ${timestep} is outside the schedule: whole numbers from 0 to ${last} are allowed.`,
      );
    }
    return mix(x, ε, f32(Math.sqrt(alpha)), f32(Math.sqrt(f32(1 - alpha))));
  };
  if (typeof t === "number") return one(latent, noise, t);

  const [batch = 0, ...dims] = latent.dims;
  if (t.length !== batch) {
    throw misuse(
      "TIMESTEP",
      `${t.length} timesteps do not fit a batch of ${batch}: give one, or one an image.`,
    );
  }
  const size = latent.size / batch;
  const image = (tensor: Tensor, i: number) =>
    Tensor.f32(dims, tensor.toFloat32().subarray(i * size, (i + 1) * size));
  const mixed = new Float32Array(latent.size);
  t.forEach((timestep, i) => {
    mixed.set(one(image(latent, i), image(noise, i), timestep).toFloat32(), i * size);
  });
  return Tensor.f32(latent.dims, mixed);
}

function betaDefaults({ _class_name }: SchedulerConfig): BetaDefaults {
  if (_class_name === undefined) return usual;
  const defaults = new Map(Object.entries(classes)).get(String(_class_name));
  if (!defaults) throw unsupported("_class_name", _class_name, Object.keys(classes).join(", "));
  return defaults;
}

function trainedBetas(config: SchedulerConfig, steps: number): Float32Array | undefined {
  const betas = config.trained_betas ?? undefined;
  if (betas === undefined) return undefined;
  const valid = (beta: unknown) => typeof beta === "number" && beta >= 0 && beta <= 1;
  if (!Array.isArray(betas) || betas.length !== steps || !betas.every(valid)) {
    throw unsupported("trained_betas", betas, `null, or ${steps} numbers from 0 to 1`);
  }
  return Float32Array.from(betas);
}

function betasOf(config: SchedulerConfig, steps: number, defaults: BetaDefaults): Float32Array {
  const start = number(config, "beta_start", defaults.start, [0, 1]);
  const end = number(config, "beta_end", defaults.end, [0, 1]);
  switch (choice(config, "beta_schedule", betaSchedules, defaults.schedule)) {
    case "linear":
      return line(start, end, steps);
    case "scaled_linear":
      return line(Math.sqrt(start), Math.sqrt(end), steps).map((root) => root * root);
    case "squaredcos_cap_v2": {
      const alphaBar = (t: number) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2;
      return Float32Array.from({ length: steps }, (_, i) =>
        Math.min(1 - alphaBar((i + 1) / steps) / alphaBar(i / steps), 0.999),
      );
    }
  }
}

/** `torch.linspace` in f32: counted from the nearer end, products and sums fused. */
function line(from: number, to: number, count: number): Float32Array {
  const [start, end] = [f32(from), f32(to)];
  if (count === 1) return Float32Array.of(start);
  const step = f32(f32(end - start) / (count - 1));
  return Float32Array.from({ length: count }, (_, i) =>
    i < count >> 1 ? start + step * i : end - step * (count - 1 - i),
  );
}

/** Products of 1 - β, summed up in double precision as `torch.cumprod` does. */
function cumulativeAlphas(betas: Float32Array): Float32Array {
  let product = 1;
  return betas.map((beta) => (product *= f32(1 - beta)));
}

/** Shifts and stretches sqrt(ᾱ) so that the last timestep is noise alone (Lin et al. 2023, algorithm 1). */
function rescaleToZeroSnr(betas: Float32Array): Float32Array {
  const roots = cumulativeAlphas(betas).map(Math.sqrt);
  const first = roots[0]!;
  const last = roots.at(-1)!;
  const stretch = f32(first / f32(first - last));
  const alphasBar = roots.map((root) => f32(f32(root - last) * stretch)).map((root) => root * root);
  return alphasBar.map((alpha, i) => 1 - (i === 0 ? alpha : f32(alpha / alphasBar[i - 1]!)));
}
