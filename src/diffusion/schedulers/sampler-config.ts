/** @file The fields that the configs of all samplers share. */

import { choice, integer, type SchedulerConfig } from "./config.js";
import { type NoiseSchedule, noiseSchedule } from "./noise-schedule.js";
import { type Spacing, spacings } from "./spacing.js";

/** A noise schedule, and how the timesteps of a run are spread over it. */
export interface SamplerConfig extends NoiseSchedule {
  /** How many timesteps the network was trained with. */
  trained: number;
  spacing: Spacing;
  /** Added to every timestep of a leading spacing. */
  offset: number;
}

/**
 * @param usualSpacing where the config is silent, as the sampler's class in diffusers has it
 * @throws CONFIG naming the field that is not supported
 */
export function samplerConfig(config: SchedulerConfig, usualSpacing: Spacing): SamplerConfig {
  const schedule = noiseSchedule(config);
  return {
    ...schedule,
    trained: schedule.alphasCumprod.length,
    spacing: choice(config, "timestep_spacing", spacings, usualSpacing),
    offset: integer(config, "steps_offset", 0, [0, 1000]),
  };
}
