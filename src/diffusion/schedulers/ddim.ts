/** @file DDIM, deterministic (diffusers `DDIMScheduler` with eta 0). */

import { z } from "zod";
import { Tensor } from "../../tensor/index.js";
import { noiseSchedule, readFields } from "./schedule.js";
import {
  checkSteps,
  combine,
  evenly,
  leadingSteps,
  predictedClean,
  predictedNoise,
  roundHalfEven,
  type Scheduler,
  spacing,
  trailingSteps,
} from "./scheduler.js";

const schema = z.looseObject({
  clip_sample: z.boolean().default(true),
  clip_sample_range: z.number().positive().default(1),
  set_alpha_to_one: z.boolean().default(true),
  steps_offset: z.number().int().default(0),
  thresholding: z.literal(false).default(false),
  timestep_spacing: spacing.default("leading"),
});

/** @see Song et al. 2021, eq. 12 */
export function ddim(config: unknown): Scheduler {
  const c = readFields(schema, config);
  const { alphasCumprod, predictionType } = noiseSchedule(config);
  const trained = alphasCumprod.length;
  let steps = 0;
  let times: number[] = [];
  return {
    initNoiseSigma: 1,
    timesteps(count) {
      checkSteps(count, trained);
      steps = count;
      if (c.timestep_spacing === "trailing") times = trailingSteps(trained, count);
      else if (c.timestep_spacing === "linspace")
        times = evenly(trained - 1, count)
          .map(roundHalfEven)
          .reverse();
      else times = leadingSteps(Math.floor(trained / count), count, c.steps_offset).reverse();
      return times;
    },
    scaleInput: (sample) => sample,
    step(prediction, i, sample) {
      const t = times[i]!;
      const previous = t - Math.floor(trained / steps);
      const left = alphasCumprod[t]!;
      const leftNext = previous >= 0 ? alphasCumprod[previous]! : c.set_alpha_to_one ? 1 : alphasCumprod[0]!;
      const [alpha, sigma] = [Math.sqrt(left), Math.sqrt(1 - left)];
      const clean = predictedClean(predictionType, prediction, sample, alpha, sigma);
      const noise = predictedNoise(predictionType, prediction, sample, alpha, sigma);
      const range = c.clip_sample_range;
      const kept = c.clip_sample
        ? Tensor.f32(
            clean.dims,
            clean.toFloat32().map((value) => Math.min(range, Math.max(-range, value))),
          )
        : clean;
      return combine([Math.sqrt(leftNext), kept], [Math.sqrt(1 - leftNext), noise]);
    },
  };
}
