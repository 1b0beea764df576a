/** @file DPM-Solver and DPM-Solver++, multistep (Lu et al. 2022; diffusers `DPMSolverMultistepScheduler`). */

import { misuse, type Tensor } from "../../tensor/index.js";
import { choice, flag, integer, number, refuse, type SchedulerConfig, unsupported } from "./config.js";
import { combine, f32 } from "./float32.js";
import { predictedClean, predictedNoise } from "./prediction.js";
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
  smallestAlpha,
  timestepOf,
} from "./sigmas.js";
import { checkSteps, checkTimesteps, leading, linspace, roundHalfEven, trailing } from "./spacing.js";

/** Below this many steps the last ones are done with lower order, where the config allows it. */
const fewSteps = 15;

export class DpmSolverScheduler implements Scheduler {
  readonly name = "dpm++";
  readonly initNoiseSigma = 1;
  readonly #config: SamplerConfig;
  /** σ of every trained timestep. */
  readonly #trained: Float32Array;
  /** How many timesteps from 0 on have a lambda above the clipping. */
  readonly #usable: number;
  readonly #levels: Levels;
  readonly #roundTimesteps: boolean;
  readonly #finalSigma: number;
  /** Solves for the clean latent (++) or for the noise. */
  readonly #solvesForClean: boolean;
  readonly #midpoint: boolean;
  readonly #order: number;
  readonly #lowerOrderFinal: boolean;
  readonly #eulerAtFinal: boolean;
  /** σ of this run's steps, and the one after the last. */
  #sigmas = new Float32Array();
  /** Converted predictions of the last steps, the newest first. */
  #history: Tensor[] = [];

  constructor(config: SchedulerConfig) {
    refuse(config, "thresholding", "use_beta_sigmas", "use_dynamic_shifting", "variance_type");
    this.#config = samplerConfig(config, "linspace");
    const { alphasCumprod } = this.#config;
    this.#trained = sigmasOf(alphasCumprod);
    const clip = number(config, "lambda_min_clipped", -Infinity, [-Infinity, Number.MAX_VALUE]);
    this.#usable = alphasCumprod.filter((alpha) => lambdaOf(alpha || smallestAlpha) >= clip).length;
    this.#levels = levelsOf(config, ["karras", "exponential", "lu"]);
    // Where they are not rounded, timesteps lose their fraction.
    this.#roundTimesteps = this.#levels !== "exponential" && config.beta_schedule !== "squaredcos_cap_v2";
    this.#finalSigma = finalSigmaOf(config, this.#trained);
    // DEIS and UniPC configs carry names of their own for these two, which diffusers reads as the ordinary ones.
    const algorithm = choice(config, "algorithm_type", ["dpmsolver++", "dpmsolver", "deis"], "dpmsolver++");
    const solver = choice(config, "solver_type", ["midpoint", "heun", "logrho", "bh1", "bh2"], "midpoint");
    this.#solvesForClean = algorithm !== "dpmsolver";
    this.#midpoint = solver !== "heun";
    if (!this.#solvesForClean && this.#finalSigma === 0) {
      throw unsupported("final_sigmas_type", "zero", "sigma_min with algorithm_type dpmsolver");
    }
    this.#order = integer(config, "solver_order", 2, [1, 3]);
    this.#lowerOrderFinal = flag(config, "lower_order_final", true);
    this.#eulerAtFinal = flag(config, "euler_at_final", false);
  }

  timesteps(steps: number): number[] {
    const trained = this.#trained;
    checkSteps(steps, trained.length);
    let timesteps = this.#spaced(steps);
    let sigmas = timesteps.map((t) => sigmaAt(trained, t));
    if (this.#levels !== "timesteps") {
      sigmas = this.#spread(steps);
      timesteps = sigmas.map((sigma) => {
        const t = timestepOf(sigma, trained);
        return this.#roundTimesteps ? roundHalfEven(t) : Math.floor(t);
      });
    }
    checkTimesteps(timesteps, steps, trained.length);
    this.#sigmas = Float32Array.of(...sigmas, this.#finalSigma);
    if (this.#sigmas.slice(1, -1).some((sigma, i) => sigma === this.#sigmas[i])) {
      throw misuse("STEPS", `${steps} steps are too many for this schedule: two of them would be the same.`);
    }
    this.#history = [];
    return timesteps;
  }

  /** One timestep more than the steps is laid out, and the last, 0, left out (but for trailing). */
  #spaced(steps: number): number[] {
    switch (this.#config.spacing) {
      case "linspace":
        return linspace(0, this.#usable - 1, steps + 1)
          .slice(1)
          .reverse()
          .map(roundHalfEven);
      case "leading": {
        const stride = Math.floor(this.#usable / (steps + 1));
        return leading(steps + 1, stride, this.#config.offset).slice(0, -1);
      }
      case "trailing":
        return trailing(this.#usable, this.#trained.length / steps);
    }
  }

  #spread(steps: number): number[] {
    const [most, least] = [this.#trained.at(-1)!, this.#trained[0]!];
    if (this.#levels === "karras") return karrasSigmas(most, least, steps);
    if (this.#levels === "exponential") return exponentialSigmas(most, least, steps);
    return linspace(f32(Math.log(most)), f32(Math.log(least)), steps).map(Math.exp);
  }

  scaleInput(sample: Tensor): Tensor {
    return sample;
  }

  step(prediction: Tensor, i: number, sample: Tensor): Tensor {
    const steps = this.#sigmas.length - 1;
    checkStep(i, steps);
    const next = levelOf(this.#sigmas[i + 1]!);
    const [now, ...before] = [i, i - 1, i - 2]
      .filter((at) => at >= 0)
      .map((at) => levelOf(this.#sigmas[at]!));
    const convert = this.#solvesForClean ? predictedClean : predictedNoise;
    const converted = convert(this.#config.predictionType, prediction, { sample, ...now! });
    this.#history = [converted, ...this.#history.slice(0, this.#order - 1)];

    const few = this.#lowerOrderFinal && steps < fewSteps;
    const first = i === steps - 1 && (this.#eulerAtFinal || few || this.#finalSigma === 0);
    const second = i === steps - 2 && few;
    const order = Math.min(this.#history.length, first ? 1 : second ? 2 : 3);
    return this.#advance(sample, next, now!, before, order);
  }

  /**
   * One step from level `now` to `next`. Both solvers are one formula: ++ integrates the clean latent over -h with
   * the coefficients of signal and noise exchanged.
   */
  #advance(sample: Tensor, next: Level, now: Level, before: readonly Level[], order: number): Tensor {
    const h = f32(next.lambda - now.lambda);
    if (h === 0) return sample; // the last level may be the lowest trained one twice
    const x = this.#solvesForClean ? -h : h;
    const kept = this.#solvesForClean ? f32(next.strength / now.strength) : f32(next.signal / now.signal);
    const scale = this.#solvesForClean ? next.signal : next.strength;
    const growth = f32(f32(Math.exp(x)) - 1);
    const whole = f32(scale * growth);
    const straight = [
      [kept, sample],
      [-whole, this.#history[0]!],
    ] as const;
    if (order === 1) return combine(...straight);

    const [newest, older, oldest] = this.#history;
    const h0 = f32(now.lambda - before[0]!.lambda);
    const r0 = f32(h0 / h);
    const slope0 = slope(newest!, older!, r0);
    const linear = f32(scale * f32(f32(growth / x) - 1));
    if (order === 2) return combine(...straight, [this.#midpoint ? f32(-0.5 * whole) : -linear, slope0]);

    const r1 = f32(f32(before[0]!.lambda - before[1]!.lambda) / h);
    const bend = combine([1, slope0], [-1, slope(older!, oldest!, r1)]);
    const span = f32(r0 + r1);
    const first = combine([1, slope0], [f32(r0 / span), bend]);
    const secondDerivative = combine([f32(1 / span), bend]);
    const quadratic = f32(scale * f32(f32(f32(growth - x) / f32(h * h)) - 0.5));
    return combine(...straight, [-linear, first], [-quadratic, secondDerivative]);
  }
}

/** A noise level by its parts: a sample is signal * clean + strength * noise, lambda the log of their ratio. */
interface Level {
  signal: number;
  strength: number;
  lambda: number;
}

function levelOf(sigma: number): Level {
  const signal = f32(1 / f32(Math.sqrt(f32(f32(sigma * sigma) + 1))));
  const strength = f32(sigma * signal);
  return { signal, strength, lambda: f32(f32(Math.log(signal)) - f32(Math.log(strength))) };
}

/** Level the log signal-to-noise ratio of a trained timestep. */
function lambdaOf(alpha: number): number {
  return f32(f32(Math.log(f32(Math.sqrt(alpha)))) - f32(Math.log(f32(Math.sqrt(f32(1 - alpha))))));
}

/** Difference quotient of two predictions. */
function slope(newer: Tensor, older: Tensor, distance: number): Tensor {
  return combine([f32(1 / distance), combine([1, newer], [-1, older])]);
}
