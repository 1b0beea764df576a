/** @file A sweep: trains and judges each variant with each seed; what an earlier call has done is left as it is. */

import { resolve } from "node:path";
import { modelFolder, type RecipeEvent, type RunOptions, runRecipe } from "../../training/index.js";
import { judge } from "../answers/judge.js";
import { type Choice, expandPlan, judgeOptions, type OpenPlan, type SweepRun } from "./expand.js";
import { findOutcome, outcomesFolder, type SweepOutcome, writeOutcome } from "./outcomes.js";

export type SweepEvent =
  /** A variant begins with a seed. */
  { kind: "run"; variant: string; seed: number; index: number; runs: number } | RecipeEvent;

export interface SweepOptions extends Omit<RunOptions, "onEvent" | "registry">, Choice {
  /** Judges by validation scenes and twins in place of the frozen test: for whoever still chooses. */
  tuning: boolean;
  onEvent?: (event: SweepEvent) => void;
  /** Called after each run with all that are finished. */
  onOutcome?: (outcomes: readonly SweepOutcome[]) => Promise<void>;
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
    outcomes.push(await outcomeOf(one, opened, { ...run, tuning, onEvent }));
    await onOutcome?.(outcomes);
  }
  return outcomes;
}

/** What came of a run: from its file, or by training and judging, after which its file is there. */
async function outcomeOf(
  run: SweepRun,
  opened: OpenPlan,
  { tuning, ...options }: RunOptions & { tuning: boolean },
): Promise<SweepOutcome> {
  const place = { out: options.out, tuning };
  const { key, outcome, other } = await findOutcome(run, opened, place);
  if (outcome) return outcome;
  if (other !== undefined)
    options.onEvent?.({
      kind: "notice",
      name: "outcome",
      message: `${other} tells of other settings: it is made anew.`,
      warning: true,
    });
  const { variant, seed } = run;
  const training = await trained(run, options);
  const model = modelFolder(options.out, `${variant}-${seed}`);
  const judgement = await judge(resolve(model), judgeOptions(opened, tuning), options);
  const made = { key, plan: opened.plan.name, variant, seed, training, judgement };
  await writeOutcome(outcomesFolder(options.out, { tuning }), made);
  return (await findOutcome(run, opened, place)).outcome!;
}

async function trained({ recipe }: SweepRun, options: RunOptions): Promise<SweepOutcome["training"]> {
  const made = await runRecipe(recipe, options);
  const { result } = made.findLast(({ kind }) => kind === "train")!;
  const { loss, validation, seconds } = result!;
  return { loss: loss!, seconds, ...(validation && { validation: validation.loss }) };
}
