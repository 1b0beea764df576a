/** @file DDIM without noise, eta = 0 (Song et al. 2021; diffusers `DDIMScheduler`). */

import type { Tensor } from "../../tensor/index.js";
import { choice, flag, integer, number, refuse, type SchedulerConfig, unsupported } from "./config.js";
import { clamp, combine, f32 } from "./float32.js";
import { type NoiseSchedule, noiseSchedule } from "./noise-schedule.js";
import { predictedClean, predictedNoise } from "./prediction.js";
import { checkStep, type Scheduler } from "./scheduler.js";
import {
  checkSteps,
  checkTimesteps,
  roundHalfEven,
  type Spacing,
  spacedTimesteps,
  spacings,
} from "./spacing.js";

export class DdimScheduler implements Scheduler {
  readonly name = "ddim";
  readonly initNoiseSigma = 1;
  readonly #schedule: NoiseSchedule;
  readonly #spacing: Spacing;
  readonly #offset: number;
  readonly #clip: number | undefined;
  readonly #finalAlpha: number;
  #timesteps: number[] = [];
  #stride = 0;

  constructor(config: SchedulerConfig) {
    refuse(config, "thresholding");
    this.#schedule = noiseSchedule(config);
    this.#spacing = choice(config, "timestep_spacing", spacings, "leading");
    this.#offset = integer(config, "steps_offset", 0, [0, 1000]);
    this.#clip = flag(config, "clip_sample", true)
      ? number(config, "clip_sample_range", 1, [0, Number.MAX_VALUE])
      : undefined;
    this.#finalAlpha = flag(config, "set_alpha_to_one", true) ? 1 : this.#schedule.alphasCumprod[0]!;
  }

  timesteps(steps: number): number[] {
    const { alphasCumprod, predictionType } = this.#schedule;
    const trained = alphasCumprod.length;
    checkSteps(steps, trained);
    const timesteps = spacedTimesteps(this.#spacing, steps, trained, this.#offset).map(roundHalfEven);
    checkTimesteps(timesteps, trained);
    if (predictionType === "epsilon" && timesteps.some((t) => alphasCumprod[t] === 0)) {
      // Noise alone says nothing about the clean latent, which would be 0 / 0.
      throw unsupported("prediction_type", predictionType, "v_prediction, sample with zero terminal SNR");
    }
    this.#timesteps = timesteps;
    this.#stride = Math.floor(trained / steps);
    return [...timesteps];
  }

  scaleInput(sample: Tensor): Tensor {
    return sample;
  }

  step(prediction: Tensor, i: number, sample: Tensor): Tensor {
    const { alphasCumprod, predictionType } = this.#schedule;
    checkStep(i, this.#timesteps.length);
    const t = this.#timesteps[i]!;
    const alpha = alphasCumprod[t]!;
    const previousAlpha = alphasCumprod[t - this.#stride] ?? this.#finalAlpha;

    const mixture = { sample, signal: f32(Math.sqrt(alpha)), strength: f32(Math.sqrt(f32(1 - alpha))) };
    const noise = predictedNoise(predictionType, prediction, mixture);
    let clean = predictedClean(predictionType, prediction, mixture);
    if (this.#clip !== undefined) clean = clamp(clean, this.#clip);
    return combine([f32(Math.sqrt(previousAlpha)), clean], [f32(Math.sqrt(f32(1 - previousAlpha))), noise]);
  }
}
