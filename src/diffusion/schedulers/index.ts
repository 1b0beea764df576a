/** @file Noise schedules and samplers. */

import { misuse } from "../../tensor/index.js";
import { ddim } from "./ddim.js";
import { dpmSolver } from "./dpm-solver.js";
import { euler } from "./euler.js";
import { pndm } from "./pndm.js";
import type { Scheduler } from "./scheduler.js";

export { addNoise, type NoiseSchedule, noiseSchedule, type PredictionType, velocity } from "./schedule.js";
export type { Scheduler } from "./scheduler.js";

const samplers = { ddim, pndm, euler, "dpm++": dpmSolver } as const;

export type SchedulerName = keyof typeof samplers;

export const schedulerNames = Object.keys(samplers) as SchedulerName[];

/** Which sampler a config's `_class_name` means. */
const byClass: Readonly<Record<string, SchedulerName>> = {
  DDIMScheduler: "ddim",
  PNDMScheduler: "pndm",
  EulerDiscreteScheduler: "euler",
  DPMSolverMultistepScheduler: "dpm++",
};

/**
 * A sampler for a config; fields that the config lacks have the sampler's own defaults, as diffusers' `from_config`.
 * @param name default: the config's own
 * @throws DiffsightError SCHEDULER for an unknown one, CONFIG for fields that it does not support
 */
export function createScheduler(config: Readonly<Record<string, unknown>>, name?: SchedulerName): Scheduler {
  const chosen = name ?? byClass[String(config._class_name)];
  if (!chosen || !(chosen in samplers)) {
    const wanted = name ?? String(config._class_name);
    throw misuse("SCHEDULER", `No sampler "${wanted}": choose one of ${schedulerNames.join(", ")}.`);
  }
  return samplers[chosen](config);
}
