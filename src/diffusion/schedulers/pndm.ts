/** @file Pseudo linear multi-step sampling (diffusers `PNDMScheduler` without Runge-Kutta steps, as SD uses it). */

import { z } from "zod";
import { failure, type Tensor } from "../../tensor/index.js";
import { noiseSchedule, readFields } from "./schedule.js";
import {
  checkSteps,
  combine,
  evenly,
  leadingSteps,
  roundHalfEven,
  type Scheduler,
  spacing,
  trailingSteps,
} from "./scheduler.js";

const schema = z.looseObject({
  skip_prk_steps: z.literal(true, { error: "only true is supported" }),
  set_alpha_to_one: z.boolean().default(false),
  steps_offset: z.number().int().default(0),
  timestep_spacing: spacing.default("leading"),
});

/** Adams-Bashforth weights, newest prediction first. */
const weights = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
] as const;

/** @see Liu et al. 2022, https://arxiv.org/abs/2202.09778 */
export function pndm(config: unknown): Scheduler {
  const c = readFields(schema, config);
  const { alphasCumprod, predictionType } = noiseSchedule(config);
  if (predictionType === "sample") throw failure("CONFIG", "PNDM does not know prediction_type sample.");
  const trained = alphasCumprod.length;
  let times: number[] = [];
  let stride = 0;
  let predictions: Tensor[] = [];
  let start: Tensor | undefined;

  /** Formula (9) of the paper, for latents of variance ᾱ. */
  const transfer = (sample: Tensor, t: number, to: number, prediction: Tensor): Tensor => {
    const left = alphasCumprod[t]!;
    const next = to >= 0 ? alphasCumprod[to]! : c.set_alpha_to_one ? 1 : alphasCumprod[0]!;
    const noise =
      predictionType === "v_prediction"
        ? combine([Math.sqrt(left), prediction], [Math.sqrt(1 - left), sample])
        : prediction;
    const denominator = left * Math.sqrt(1 - next) + Math.sqrt(left * (1 - left) * next);
    return combine([Math.sqrt(next / left), sample], [-(next - left) / denominator, noise]);
  };

  return {
    initNoiseSigma: 1,
    timesteps(count) {
      checkSteps(count, trained);
      stride = Math.floor(trained / count);
      let rising: number[];
      if (c.timestep_spacing === "linspace") rising = evenly(trained - 1, count).map(roundHalfEven);
      else if (c.timestep_spacing === "trailing") rising = trailingSteps(trained, count).reverse();
      else rising = leadingSteps(stride, count, c.steps_offset);
      // The second timestep comes twice: the first step is taken again with the mean of two predictions.
      times = [...rising.slice(0, -1), ...rising.slice(-2, -1), ...rising.slice(-1)].reverse();
      predictions = [];
      start = undefined;
      return times;
    },
    scaleInput: (sample) => sample,
    step(prediction, i, sample) {
      let from = times[i]!;
      let to = from - stride;
      if (i === 1) {
        to = from;
        from += stride;
      } else {
        predictions = [prediction, ...predictions.slice(0, 3)];
      }
      if (i === 0) {
        start = sample;
        return transfer(sample, from, to, prediction);
      }
      if (i === 1) {
        const mean = combine([0.5, prediction], [0.5, predictions[0]!]);
        return transfer(start!, from, to, mean);
      }
      const terms = weights[predictions.length - 1]!.map((weight, j) => [weight, predictions[j]!] as const);
      return transfer(sample, from, to, combine(...terms));
    },
  };
}
