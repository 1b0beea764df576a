/** @file Noise schedules and samplers. */

export { parseSchedulerConfig, type SchedulerConfig } from "./config.js";
export { createScheduler } from "./create.js";
export {
  addNoise,
  type NoiseSchedule,
  noiseSchedule,
  type PredictionType,
  velocity,
} from "./noise-schedule.js";
export { type Scheduler, type SchedulerName, schedulerNames } from "./scheduler.js";
