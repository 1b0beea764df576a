/** @file Learning rates over the steps, as factors of the recipe's own. */

export interface Schedule {
  /**
   * constant; cosine: half a cosine down to `to`, as transformers' `get_cosine_schedule_with_warmup` with `to` 0;
   * linear: straight down to `to`.
   */
  kind: "constant" | "cosine" | "linear";
  /** Steps that rise from 0: the first one runs at 0. Below 1 a share of all steps. */
  warmup: number;
  /** Share of the steps after the warmup that run at the full rate before it falls, 0 to 1. */
  hold: number;
  /** What is left at the end. */
  to: number;
}

/**
 * The factor of the learning rate.
 * @param step from 0
 * @param steps of the whole run
 */
export function rateAt({ kind, warmup: rise, hold, to }: Schedule, step: number, steps: number): number {
  // Rounded up, as transformers' trainer does.
  const warmup = rise < 1 ? Math.ceil(rise * steps) : rise;
  if (step < warmup) return step / warmup;
  if (kind === "constant") return 1;
  const begin = warmup + hold * (steps - warmup);
  if (step <= begin) return 1;
  const progress = Math.min(1, (step - begin) / Math.max(1, steps - begin));
  const left = kind === "linear" ? 1 - progress : 0.5 * (1 + Math.cos(Math.PI * progress));
  return to + (1 - to) * left;
}
