/** @file A sweep: trains and judges each variant with each seed; what an earlier call has done is left as it is. */

import { resolve } from "node:path";
import { modelFolder, type RecipeEvent, type RunOptions, runRecipe } from "../../training/index.js";
import { type Judgement, type JudgeOptions, judge } from "../answers/judge.js";
import { blindClip, type Choice, expandPlan, type OpenPlan, type SweepRun } from "./expand.js";

export type SweepEvent =
  /** A variant begins with a seed. */
  { kind: "run"; variant: string; seed: number; index: number; runs: number } | RecipeEvent;

/** What came of one variant with one seed. */
export interface SweepOutcome {
  variant: string;
  seed: number;
  /** Folder of the model. */
  model: string;
  /** Of the seeded training. */
  training: { loss: number; validation?: number; seconds: number };
  judgement: Judgement;
}

export interface SweepOptions extends Omit<RunOptions, "onEvent" | "registry">, Choice {
  /** Judges by validation scenes and twins in place of the frozen test: for whoever still chooses. */
  tuning: boolean;
  onEvent?: (event: SweepEvent) => void;
  /** Called after each run with all that are finished. */
  onOutcome?: (outcomes: readonly SweepOutcome[]) => Promise<void>;
}

/** How a plan judges. */
export function judgeOptions(opened: OpenPlan, tuning: boolean): JudgeOptions {
  const { scenes, twins, unseen, options, leakage } = opened.plan.judge;
  return { scenes: { test: scenes, twins, unseen }, tuning, options, leakage, clip: blindClip(opened) };
}

/**
 * Runs a plan.
 * @throws DiffsightError PLAN, and what recipes and their stages throw; ABORTED with everything saved
 */
export async function runSweep(opened: OpenPlan, options: SweepOptions): Promise<SweepOutcome[]> {
  const { tuning, onEvent = () => {}, onOutcome, only, seeds, ...run } = options;
  const runs = expandPlan(opened, { only, seeds });
  const outcomes: SweepOutcome[] = [];
  for (const [index, one] of runs.entries()) {
    const { variant, seed } = one;
    onEvent({ kind: "run", variant, seed, index, runs: runs.length });
    const training = await trained(one, { ...run, onEvent });
    const model = resolve(modelFolder(run.out, `${variant}-${seed}`));
    const judgement = await judge(model, judgeOptions(opened, tuning), { ...run, onEvent });
    outcomes.push({ variant, seed, model, training, judgement });
    await onOutcome?.(outcomes);
  }
  return outcomes;
}

async function trained({ recipe }: SweepRun, options: RunOptions): Promise<SweepOutcome["training"]> {
  const made = await runRecipe(recipe, options);
  const { result } = made.findLast(({ kind }) => kind === "train")!;
  const { loss, validation, seconds } = result!;
  return { loss: loss!, seconds, ...(validation && { validation: validation.loss }) };
}
