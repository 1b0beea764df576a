/** @file DDIM without noise, eta = 0 (Song et al. 2021; diffusers `DDIMScheduler`). */

import type { Tensor } from "../../tensor/index.js";
import { flag, number, refuse, type SchedulerConfig, unsupported } from "./config.js";
import { clamp, combine, f32 } from "./float32.js";
import { predictedClean, predictedNoise } from "./prediction.js";
import { type SamplerConfig, samplerConfig } from "./sampler-config.js";
import { checkStep, type Scheduler } from "./scheduler.js";
import { checkSteps, checkTimesteps, roundHalfEven, spacedTimesteps } from "./spacing.js";

export class DdimScheduler implements Scheduler {
  readonly name = "ddim";
  readonly initNoiseSigma = 1;
  readonly #config: SamplerConfig;
  readonly #clip: number | undefined;
  readonly #finalAlpha: number;
  #timesteps: number[] = [];
  #stride = 0;

  constructor(config: SchedulerConfig) {
    refuse(config, "thresholding");
    this.#config = samplerConfig(config, "leading");
    this.#clip = flag(config, "clip_sample", true)
      ? number(config, "clip_sample_range", 1, [0, Number.MAX_VALUE])
      : undefined;
    this.#finalAlpha = flag(config, "set_alpha_to_one", true) ? 1 : this.#config.alphasCumprod[0]!;
  }

  timesteps(steps: number): number[] {
    const { alphasCumprod, predictionType, trained } = this.#config;
    checkSteps(steps, trained);
    const timesteps = spacedTimesteps(steps, this.#config).map(roundHalfEven);
    checkTimesteps(timesteps, steps, trained);
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
    const { alphasCumprod, predictionType } = this.#config;
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
