/** @file What every sampler can do: text-to-image walks from noise to a latent in `timesteps(steps).length` steps. */

import { misuse, type Tensor } from "../../tensor/index.js";

export const schedulerNames = ["ddim", "pndm", "euler", "dpm++"] as const;
export type SchedulerName = (typeof schedulerNames)[number];

/** One run at a time: `timesteps` begins a run, then step 0, 1, 2 ... in order. */
export interface Scheduler {
  readonly name: SchedulerName;
  /**
   * Begins a run and says at which timesteps the network is asked, in order. They may be fractional (Euler), repeat
   * (PNDM) and be more than `steps`.
   * @throws STEPS when the schedule has no such number of steps
   */
  timesteps(steps: number): number[];
  /** What unit noise is multiplied by before the first step of this run. */
  readonly initNoiseSigma: number;
  /** What the network sees of the sample at step `i`. */
  scaleInput(sample: Tensor, i: number): Tensor;
  /** The sample after step `i`, from the network's (guided) prediction and the sample before, not scaled. */
  step(prediction: Tensor, i: number, sample: Tensor): Tensor;
}

/** @throws STEPS unless step `i` belongs to the run that `timesteps` has begun */
export function checkStep(i: number, steps: number): void {
  if (!Number.isInteger(i) || i < 0 || i >= steps) {
    throw misuse(
      "STEPS",
      `There is no step ${i}: timesteps() has begun a run of ${Math.max(steps, 0)} steps.`,
    );
  }
}
