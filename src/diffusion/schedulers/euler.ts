/** @file Euler's method in sigma (diffusers `EulerDiscreteScheduler` without churn). */

import { z } from "zod";
import { noiseSchedule, readFields } from "./schedule.js";
import {
  checkSteps,
  combine,
  evenly,
  interpolateAt,
  leadingSteps,
  roundHalfEven,
  type Scheduler,
  sigmasOf,
  spacing,
  trailingSteps,
} from "./scheduler.js";

const schema = z.looseObject({
  interpolation_type: z.literal("linear").default("linear"),
  use_karras_sigmas: z.literal(false).nullish(),
  use_exponential_sigmas: z.literal(false).nullish(),
  use_beta_sigmas: z.literal(false).nullish(),
  sigma_min: z.null().optional(),
  sigma_max: z.null().optional(),
  timestep_type: z.literal("discrete").default("discrete"),
  timestep_spacing: spacing.default("linspace"),
  steps_offset: z.number().int().default(0),
  final_sigmas_type: z.enum(["zero", "sigma_min"]).default("zero"),
  rescale_betas_zero_snr: z.boolean().default(false),
});

/** @see Karras et al. 2022, algorithm 2 with S_churn = 0 */
export function euler(config: unknown): Scheduler {
  const c = readFields(schema, config);
  const { alphasCumprod, predictionType } = noiseSchedule(config);
  // Nothing of the latent left would be an infinite sigma: diffusers takes 2^-24 instead.
  if (c.rescale_betas_zero_snr) alphasCumprod[alphasCumprod.length - 1] = 2 ** -24;
  const table = sigmasOf(alphasCumprod);
  const trained = table.length;
  let sigmas: number[] = [];
  return {
    get initNoiseSigma() {
      const highest = Math.max(...(sigmas.length > 0 ? sigmas : table));
      return c.timestep_spacing === "leading" ? Math.sqrt(highest ** 2 + 1) : highest;
    },
    timesteps(count) {
      checkSteps(count, trained);
      let times: number[];
      if (c.timestep_spacing === "linspace")
        times = evenly(trained - 1, count)
          .map(Math.fround)
          .reverse();
      else if (c.timestep_spacing === "trailing") times = trailingSteps(trained, count);
      else
        times = leadingSteps(Math.floor(trained / count), count, c.steps_offset)
          .map(roundHalfEven)
          .reverse();
      sigmas = [...times.map((t) => interpolateAt(table, t)), c.final_sigmas_type === "zero" ? 0 : table[0]!];
      return times;
    },
    scaleInput: (sample, i) => combine([1 / Math.sqrt(sigmas[i]! ** 2 + 1), sample]),
    step(prediction, i, sample) {
      const sigma = sigmas[i]!;
      const change = sigmas[i + 1]! - sigma;
      // (x - x0) / sigma
      const slope =
        predictionType === "epsilon"
          ? prediction
          : predictionType === "sample"
            ? combine([1 / sigma, sample], [-1 / sigma, prediction])
            : combine([sigma / (sigma ** 2 + 1), sample], [1 / Math.sqrt(sigma ** 2 + 1), prediction]);
      return combine([1, sample], [change, slope]);
    },
  };
}
