/** @file Pseudo numerical methods (Liu et al. 2022; diffusers `PNDMScheduler`), the scheduler of SD 1.x and 2.1-base. */

import type { Tensor } from "../../tensor/index.js";
import { flag, refuse, type SchedulerConfig, unsupported } from "./config.js";
import { combine, divide, f32 } from "./float32.js";
import { predictedNoise } from "./prediction.js";
import { type SamplerConfig, samplerConfig } from "./sampler-config.js";
import { checkStep, type Scheduler } from "./scheduler.js";
import { checkSteps, checkTimesteps, roundHalfEven, spacedTimesteps } from "./spacing.js";

/** Passes of the network at the beginning, four a Runge-Kutta step, where the config does not skip them. */
const rungeKuttaPasses = 12;

export class PndmScheduler implements Scheduler {
  readonly name = "pndm";
  readonly initNoiseSigma = 1;
  readonly #config: SamplerConfig;
  readonly #skipRungeKutta: boolean;
  readonly #finalAlpha: number;
  #timesteps: number[] = [];
  #stride = 0;
  /** Up to four predictions, the newest first. */
  #history: Tensor[] = [];
  /** The sample that the steps of one Runge-Kutta step, or the first two linear ones, start from. */
  #origin: Tensor | undefined;
  /** Weighted sum of the predictions within one Runge-Kutta step. */
  #sum: Tensor | undefined;

  constructor(config: SchedulerConfig) {
    refuse(config, "rescale_betas_zero_snr");
    this.#config = samplerConfig(config, "leading");
    if (this.#config.predictionType === "sample") {
      throw unsupported("prediction_type", "sample", "epsilon, v_prediction");
    }
    this.#skipRungeKutta = flag(config, "skip_prk_steps", false);
    this.#finalAlpha = flag(config, "set_alpha_to_one", false) ? 1 : this.#config.alphasCumprod[0]!;
  }

  timesteps(steps: number): number[] {
    const { trained } = this.#config;
    checkSteps(steps, trained, this.#skipRungeKutta ? 1 : 4);
    const plain = spacedTimesteps(steps, this.#config).map(roundHalfEven);
    const stride = Math.floor(trained / steps);
    let timesteps: number[];
    if (this.#skipRungeKutta) {
      // The second one twice: the first linear step is done again with the mean of two predictions.
      timesteps = [plain[0]!, ...plain.slice(1, 2), ...plain.slice(1)];
    } else {
      // Three Runge-Kutta steps, each at its beginning, twice in its middle and at its end.
      const half = Math.floor(stride / 2);
      const quartets = [0, 1, 2].flatMap((i) => {
        const [from, to] = [plain[i]!, plain[i + 1]!];
        return [from, to + half, to + half, to];
      });
      timesteps = [...quartets, ...plain.slice(3)];
    }
    checkTimesteps(timesteps, steps, trained);
    this.#timesteps = timesteps;
    this.#stride = stride;
    this.#history = [];
    this.#origin = undefined;
    this.#sum = undefined;
    return [...timesteps];
  }

  scaleInput(sample: Tensor): Tensor {
    return sample;
  }

  step(prediction: Tensor, i: number, sample: Tensor): Tensor {
    checkStep(i, this.#timesteps.length);
    const t = this.#timesteps[i]!;
    return !this.#skipRungeKutta && i < rungeKuttaPasses
      ? this.#rungeKuttaStep(prediction, i, t, sample)
      : this.#linearStep(prediction, i, t, sample);
  }

  #rungeKuttaStep(prediction: Tensor, i: number, t: number, sample: Tensor): Tensor {
    const pass = i % 4;
    const from = this.#timesteps[i - pass]!;
    const to = pass % 2 === 1 ? t : t - Math.floor(this.#stride / 2);
    if (pass === 0) {
      this.#history.unshift(prediction);
      this.#origin = sample;
    }
    const weight = f32(pass === 0 || pass === 3 ? 1 / 6 : 1 / 3);
    this.#sum = this.#sum ? combine([1, this.#sum], [weight, prediction]) : combine([weight, prediction]);
    const origin = this.#origin ?? sample;
    if (pass < 3) return this.#transfer(origin, from, to, prediction);
    const mean = this.#sum;
    this.#sum = undefined;
    return this.#transfer(origin, from, to, mean);
  }

  #linearStep(prediction: Tensor, i: number, t: number, sample: Tensor): Tensor {
    if (i === 1) {
      // Back to where the first step began, now with the mean of the predictions at its two ends.
      const mean = divide(combine([1, prediction], [1, this.#history[0]!]), 2);
      return this.#transfer(this.#origin!, t + this.#stride, t, mean);
    }
    if (i === 0) this.#origin = sample;
    this.#history = [prediction, ...this.#history.slice(0, 3)];
    return this.#transfer(sample, t, t - this.#stride, extrapolate(this.#history));
  }

  /** From the sample at one timestep to that at another (eq. 9 of the paper). */
  #transfer(sample: Tensor, from: number, to: number, prediction: Tensor): Tensor {
    const { alphasCumprod, predictionType } = this.#config;
    const alpha = alphasCumprod[from]!;
    const nextAlpha = alphasCumprod[to] ?? this.#finalAlpha;
    const beta = f32(1 - alpha);
    const nextBeta = f32(1 - nextAlpha);
    const mixture = { sample, signal: f32(Math.sqrt(alpha)), strength: f32(Math.sqrt(beta)) };
    const noise = predictedNoise(predictionType, prediction, mixture);

    const denominator = f32(
      f32(alpha * f32(Math.sqrt(nextBeta))) + f32(Math.sqrt(f32(f32(alpha * beta) * nextAlpha))),
    );
    const direction = divide(combine([f32(nextAlpha - alpha), noise]), denominator);
    return combine([f32(Math.sqrt(f32(nextAlpha / alpha))), sample], [-1, direction]);
  }
}

/** Adams and Bashforth: the prediction of the step from those of the last one to four timesteps, newest first. */
function extrapolate([a, b, c, d]: readonly Tensor[]): Tensor {
  if (!b) return a!;
  if (!c) return divide(combine([3, a!], [-1, b]), 2);
  if (!d) return divide(combine([23, a!], [-16, b], [5, c]), 12);
  return combine([f32(1 / 24), combine([55, a!], [-59, b], [37, c], [-9, d])]);
}
