/** @file Euler's method in σ, without churn (Karras et al. 2022, algorithm 2; diffusers `EulerDiscreteScheduler`). */

import type { Tensor } from "../../tensor/index.js";
import { choice, number, refuse, type SchedulerConfig } from "./config.js";
import { combine, divide, f32 } from "./float32.js";
import { type SamplerConfig, samplerConfig } from "./sampler-config.js";
import { checkStep, type Scheduler } from "./scheduler.js";
import {
  exponentialSigmas,
  finalSigmaOf,
  karrasSigmas,
  type Levels,
  levelsOf,
  sigmaAt,
  sigmasOf,
  timestepOf,
} from "./sigmas.js";
import { checkSteps, checkTimesteps, spacedTimesteps } from "./spacing.js";

export class EulerScheduler implements Scheduler {
  readonly name = "euler";
  readonly #config: SamplerConfig;
  /** σ of every trained timestep. */
  readonly #trained: Float32Array;
  readonly #levels: Levels;
  /** Between these lie Karras' and exponential levels; otherwise between the run's own ends. */
  readonly #range: { least: number | undefined; most: number | undefined };
  readonly #finalSigma: number;
  /** σ of this run's steps, and the one after the last. */
  #sigmas = new Float32Array();

  constructor(config: SchedulerConfig) {
    refuse(config, "use_beta_sigmas");
    choice(config, "timestep_type", ["discrete"], "discrete");
    choice(config, "interpolation_type", ["linear"], "linear");
    this.#config = samplerConfig(config, "linspace");
    this.#trained = sigmasOf(this.#config.alphasCumprod);
    this.#levels = levelsOf(config, ["karras", "exponential"]);
    const limit = (field: string) =>
      config[field] == null ? undefined : number(config, field, 0, [1e-10, 1e10]);
    this.#range = { least: limit("sigma_min"), most: limit("sigma_max") };
    this.#finalSigma = finalSigmaOf(config, this.#trained);
  }

  timesteps(steps: number): number[] {
    const trained = this.#trained;
    checkSteps(steps, trained.length);
    let timesteps = spacedTimesteps(steps, this.#config).map(f32);
    checkTimesteps(timesteps, steps, trained.length);
    let sigmas = timesteps.map((t) => sigmaAt(trained, t));
    if (this.#levels !== "timesteps") {
      const spread = this.#levels === "karras" ? karrasSigmas : exponentialSigmas;
      const { most = sigmas[0]!, least = sigmas.at(-1)! } = this.#range;
      sigmas = spread(most, least, steps);
      timesteps = sigmas.map((sigma) => f32(timestepOf(sigma, trained)));
    }
    this.#sigmas = Float32Array.of(...sigmas, this.#finalSigma);
    return timesteps;
  }

  get initNoiseSigma(): number {
    const most = this.#sigmas.reduce((a, b) => Math.max(a, b), 0);
    return this.#config.spacing === "leading" ? f32(Math.sqrt(f32(f32(most * most) + 1))) : most;
  }

  scaleInput(sample: Tensor, i: number): Tensor {
    const [sigma] = this.#levelsAt(i);
    return divide(sample, f32(Math.sqrt(f32(f32(sigma * sigma) + 1))));
  }

  step(prediction: Tensor, i: number, sample: Tensor): Tensor {
    const [sigma, next] = this.#levelsAt(i);
    const slope = divide(combine([1, sample], [-1, this.#clean(prediction, sigma, sample)]), sigma);
    return combine([1, sample], [f32(next - sigma), slope]);
  }

  /** σ before and after a step. */
  #levelsAt(i: number): [now: number, next: number] {
    checkStep(i, this.#sigmas.length - 1);
    return [this.#sigmas[i]!, this.#sigmas[i + 1]!];
  }

  /** Here a sample is clean + σ noise, not the mixture that the network was trained on. */
  #clean(prediction: Tensor, sigma: number, sample: Tensor): Tensor {
    switch (this.#config.predictionType) {
      case "epsilon":
        return combine([1, sample], [-sigma, prediction]);
      case "v_prediction": {
        const variance = f32(f32(sigma * sigma) + 1);
        return combine([f32(-sigma / f32(Math.sqrt(variance))), prediction], [1, divide(sample, variance)]);
      }
      case "sample":
        return prediction;
    }
  }
}
