/** @file What probes that teach heads have in common: how many scenes and steps, and how a plan is run. */

import type { Command } from "commander";
import type { ProbeFindings, ProbePlan } from "../../evaluation/index.js";
import { misuse } from "../../tensor/index.js";
import { wholeNumber } from "../flags.js";
import { recipeProgress } from "../recipe-progress.js";
import type { OutputFlags, Shell } from "../shell.js";

export interface AmountFlags extends OutputFlags {
  out: string;
  scenes: number;
  steps?: number;
  pairs: number;
  seeds: number;
  tuning?: boolean;
  threads: number;
}

/** @param seeds how many unless it is said */
export function amountFlags(command: Command, { seeds }: { seeds: number }): void {
  command
    .optionsGroup("How much:")
    .option("--scenes <n>", "pictures that are learned from; a fifth as many judge", wholeNumber, 10_000)
    .option("--steps <n>", "updates of each head (default: 1200)", wholeNumber)
    .option("--pairs <n>", "twins of each pattern", wholeNumber, 500)
    .option("--seeds <n>", "heads for each way of seeing", wholeNumber, seeds)
    .option("--tuning", "judge by validation scenes: for whoever still chooses among settings");
}

/**
 * What these flags make of a plan: pictures that heads learn from, a share of as many that stop and judge them, steps.
 * @throws misuse RANGE
 */
export function amountsOf(
  flags: AmountFlags,
): Pick<ProbePlan, "scenes" | "settings" | "seeds" | "tuning"> & { tuning: boolean } {
  const { scenes, steps, pairs, seeds, tuning = false, threads } = flags;
  const atLeastOne = { scenes, pairs, seeds, threads, ...(steps !== undefined && { steps }) };
  for (const [flag, value] of Object.entries(atLeastOne))
    if (value < 1) throw misuse("RANGE", `--${flag} must be at least 1, not ${value}.`);
  return {
    scenes: {
      train: scenes,
      validation: Math.ceil(scenes / 10),
      test: Math.ceil(scenes / 5),
      unseen: Math.ceil(scenes / 20),
      twins: pairs,
    },
    ...(steps !== undefined && { settings: shortened(steps) }),
    seeds,
    tuning,
  };
}

/** Settings of a head with other steps than usual. */
function shortened(steps: number): NonNullable<ProbePlan["settings"]> {
  const warmup = Math.min(50, Math.floor(steps / 10));
  return { steps, schedule: { kind: "cosine", warmup, hold: 0, to: 0 } };
}

/** @param clip whose blindness counts */
export async function runHeads(
  plan: ProbePlan,
  clip: string | undefined,
  flags: AmountFlags,
  shell: Shell,
): Promise<ProbeFindings> {
  const { out, pairs, threads, tuning = false } = flags;
  const { moreBlind, runProbes } = await import("../../evaluation/index.js");
  await shell.checkWritable(out, { folder: true });
  const progress = recipeProgress(shell, flags);
  const blind = await moreBlind(clip, pairs, tuning);
  const run = { out, threads, signal: shell.signal, onEvent: progress.event };
  return await runProbes(blind ? { ...plan, blind } : plan, run).finally(progress.end);
}
