/** @file DPM-Solver++ of first and second order (diffusers `DPMSolverMultistepScheduler`). */

import { z } from "zod";
import type { Tensor } from "../../tensor/index.js";
import { noiseSchedule, readFields } from "./schedule.js";
import {
  checkSteps,
  combine,
  evenly,
  interpolateAt,
  leadingSteps,
  predictedClean,
  roundHalfEven,
  type Scheduler,
  sigmasOf,
  spacing,
  trailingSteps,
} from "./scheduler.js";

const schema = z.looseObject({
  algorithm_type: z.literal("dpmsolver++").default("dpmsolver++"),
  solver_order: z.union([z.literal(1), z.literal(2)]).default(2),
  solver_type: z.enum(["midpoint", "heun"]).default("midpoint"),
  lower_order_final: z.boolean().default(true),
  euler_at_final: z.boolean().default(false),
  thresholding: z.literal(false).default(false),
  use_karras_sigmas: z.literal(false).nullish(),
  use_exponential_sigmas: z.literal(false).nullish(),
  use_beta_sigmas: z.literal(false).nullish(),
  use_lu_lambdas: z.literal(false).nullish(),
  use_flow_sigmas: z.literal(false).nullish(),
  variance_type: z.null().optional(),
  timestep_spacing: spacing.default("linspace"),
  steps_offset: z.number().int().default(0),
  final_sigmas_type: z.enum(["zero", "sigma_min"]).default("zero"),
  rescale_betas_zero_snr: z.boolean().default(false),
});

/** @see Lu et al. 2022, https://arxiv.org/abs/2211.01095, algorithm 2 */
export function dpmSolver(config: unknown): Scheduler {
  const c = readFields(schema, config);
  const { alphasCumprod, predictionType } = noiseSchedule(config);
  if (c.rescale_betas_zero_snr) alphasCumprod[alphasCumprod.length - 1] = 2 ** -24;
  const table = sigmasOf(alphasCumprod);
  const trained = table.length;
  let sigmas: number[] = [];
  let previous: Tensor | undefined;

  const scales = (sigma: number) => {
    const alpha = 1 / Math.sqrt(sigma ** 2 + 1);
    return { alpha, sigma: sigma * alpha, lambda: -Math.log(sigma) };
  };

  return {
    initNoiseSigma: 1,
    timesteps(count) {
      checkSteps(count, trained);
      let times: number[];
      if (c.timestep_spacing === "linspace")
        times = evenly(trained - 1, count + 1)
          .map(roundHalfEven)
          .reverse()
          .slice(0, -1);
      else if (c.timestep_spacing === "trailing") times = trailingSteps(trained, count);
      else
        times = leadingSteps(Math.floor(trained / (count + 1)), count + 1, c.steps_offset)
          .reverse()
          .slice(0, -1);
      sigmas = [...times.map((t) => interpolateAt(table, t)), c.final_sigmas_type === "zero" ? 0 : table[0]!];
      previous = undefined;
      return times;
    },
    scaleInput: (sample) => sample,
    step(prediction, i, sample) {
      const from = scales(sigmas[i]!);
      const to = scales(sigmas[i + 1]!);
      const steps = sigmas.length - 1;
      const clean = predictedClean(predictionType, prediction, sample, from.alpha, from.sigma);
      const before = previous;
      previous = clean;
      const h = to.lambda - from.lambda;
      const decay = -to.alpha * Math.expm1(-h);
      const last = i === steps - 1;
      const lower =
        last && (c.euler_at_final || (c.lower_order_final && steps < 15) || c.final_sigmas_type === "zero");
      if (c.solver_order === 1 || !before || lower)
        return combine([to.sigma / from.sigma, sample], [decay, clean]);
      const ratio = (from.lambda - scales(sigmas[i - 1]!).lambda) / h;
      // D1 = (newest - before) / ratio
      const bend = c.solver_type === "midpoint" ? decay / 2 : to.alpha * (Math.expm1(-h) / h + 1);
      return combine([to.sigma / from.sigma, sample], [decay + bend / ratio, clean], [-bend / ratio, before]);
    },
  };
}
