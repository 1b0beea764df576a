/** @file Chooses the sampler by its short name, or by the class that a config was written for. */

import { misuse } from "../../tensor/index.js";
import { type SchedulerConfig, unsupported } from "./config.js";
import { DdimScheduler } from "./ddim.js";
import { DpmSolverScheduler } from "./dpm-solver.js";
import { EulerScheduler } from "./euler.js";
import { PndmScheduler } from "./pndm.js";
import { type Scheduler, type SchedulerName, schedulerNames } from "./scheduler.js";

const makers: { readonly [K in SchedulerName]: (config: SchedulerConfig) => Scheduler } = {
  ddim: (config) => new DdimScheduler(config),
  pndm: (config) => new PndmScheduler(config),
  euler: (config) => new EulerScheduler(config),
  "dpm++": (config) => new DpmSolverScheduler(config),
};

const ownName: Readonly<Record<string, SchedulerName>> = {
  DDIMScheduler: "ddim",
  PNDMScheduler: "pndm",
  EulerDiscreteScheduler: "euler",
  DPMSolverMultistepScheduler: "dpm++",
};

/**
 * A sampler with the noise schedule of a checkpoint. With a name it is diffusers' `from_config`: fields that the
 * config leaves out take the defaults of the named class.
 * @param config the parsed scheduler_config.json
 * @param name default: the class that the config was written for
 * @throws UNKNOWN_SCHEDULER, CONFIG naming the field that is not supported
 */
export function createScheduler(config: SchedulerConfig, name?: SchedulerName): Scheduler {
  const chosen = name ?? new Map(Object.entries(ownName)).get(String(config._class_name));
  if (!chosen) {
    const allowed = `${Object.keys(ownName).join(", ")} (or name one of ${schedulerNames.join(", ")})`;
    throw unsupported("_class_name", config._class_name, allowed);
  }
  if (!schedulerNames.includes(chosen)) {
    throw misuse(
      "UNKNOWN_SCHEDULER",
      `Unknown scheduler "${chosen}": ${schedulerNames.join(", ")} are allowed.`,
    );
  }
  return makers[chosen](config);
}
