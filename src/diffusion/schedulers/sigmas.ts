/** @file Noise levels σ = sqrt((1 - ᾱ) / ᾱ), in which Euler and DPM-Solver count. */

import { choice, flag, type SchedulerConfig, unsupported } from "./config.js";
import { f32 } from "./float32.js";
import { linspace } from "./spacing.js";

/** Stands for a last ᾱ of 0, whose σ would be infinite: f16's smallest number, as in diffusers. */
export const smallestAlpha = 2 ** -24;

/** σ by trained timestep, ascending. */
export function sigmasOf(alphasCumprod: Float32Array): Float32Array {
  return alphasCumprod.map((alpha) => {
    const share = alpha || smallestAlpha;
    return Math.sqrt(f32(f32(1 - share) / share));
  });
}

/** σ at a timestep between the trained ones (`numpy.interp`). */
export function sigmaAt(sigmas: Float32Array, t: number): number {
  const below = Math.min(Math.floor(t), sigmas.length - 1);
  if (t === below || below === sigmas.length - 1) return sigmas[below]!;
  return (sigmas[below + 1]! - sigmas[below]!) * (t - below) + sigmas[below]!;
}

/** The timestep, mostly fractional, whose σ this is: linear in log σ. */
export function timestepOf(sigma: number, sigmas: Float32Array): number {
  const logSigmas = sigmas.map(Math.log);
  const log = Math.log(Math.max(sigma, 1e-10));
  const reached = logSigmas.findLastIndex((one) => one <= log);
  const low = Math.min(Math.max(reached, 0), sigmas.length - 2);
  const weight = (logSigmas[low]! - log) / f32(logSigmas[low]! - logSigmas[low + 1]!);
  const w = Math.min(Math.max(weight, 0), 1);
  return (1 - w) * low + w * (low + 1);
}

/** Descending levels, dense where the noise is low (Karras et al. 2022, eq. 5, rho = 7). */
export function karrasSigmas(most: number, least: number, count: number): number[] {
  const rho = 7;
  const [high, low] = [most ** (1 / rho), least ** (1 / rho)];
  return linspace(0, 1, count).map((ramp) => (high + ramp * (low - high)) ** rho);
}

/** Descending levels, evenly spaced in log σ. */
export function exponentialSigmas(most: number, least: number, count: number): number[] {
  return linspace(Math.log(most), Math.log(least), count).map(Math.exp);
}

const levelFields = {
  karras: "use_karras_sigmas",
  exponential: "use_exponential_sigmas",
  lu: "use_lu_lambdas",
} as const;

/** How the levels of a run are chosen: those of its timesteps, or one of these distributions. */
export type Levels = "timesteps" | keyof typeof levelFields;

/** The one distribution among those known that the config switches on. */
export function levelsOf(config: SchedulerConfig, known: readonly (keyof typeof levelFields)[]): Levels {
  const on = known.filter((name) => flag(config, levelFields[name], false));
  if (on.length > 1)
    throw unsupported(levelFields[on[1]!], true, `false where ${levelFields[on[0]!]} is true`);
  return on[0] ?? "timesteps";
}

/** The level after the last step: 0, or that of the first trained timestep. */
export function finalSigmaOf(config: SchedulerConfig, sigmas: Float32Array): number {
  return choice(config, "final_sigmas_type", ["zero", "sigma_min"], "zero") === "zero" ? 0 : sigmas[0]!;
}
