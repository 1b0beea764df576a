/** @file What a sweep will take: each stage once, however many variants share it. */

import { contentKey } from "../../data/index.js";
import { estimateStage, type PlannedStage, type StageEstimate } from "../../training/index.js";
import { type Choice, expandPlan, type OpenPlan } from "./expand.js";
import { findOutcome, plannedStages } from "./outcomes.js";

export interface EstimateOptions extends Choice {
  out: string;
  threads: number;
  tuning: boolean;
  /** Called before each stage that is tried. */
  onStage?: (name: string) => void;
}

/**
 * Estimates the stages of all variants and seeds, and those that judge; each once. Stages that differ in their seed
 * alone take the same time, of which one is tried. Answers are not among them: what they take shows when a model is done.
 * @throws DiffsightError PLAN, RECIPE, JUDGE
 */
export async function estimateSweep(
  opened: OpenPlan,
  { out, threads, tuning, onStage = () => {}, ...choice }: EstimateOptions,
): Promise<StageEstimate[]> {
  const estimates = new Map<string, StageEstimate>();
  const costs = new Map<string, StageEstimate>();
  for (const run of expandPlan(opened, choice)) {
    if ((await findOutcome(run, opened, { out, tuning })).outcome) continue;
    const { training, judging } = await plannedStages(run, opened, { out, tuning });
    for (const planned of [...training, ...judging]) {
      const { stage, key, folder } = planned;
      if (estimates.has(key)) continue;
      const cost = costKey(planned);
      const known = costs.get(cost);
      if (!known) onStage(stage.name);
      const own = known?.status === "to do" ? known : await estimateStage(planned, threads);
      costs.set(cost, own);
      const name = isSeeded(opened, stage.name) ? `${stage.name} ${run.variant}-${run.seed}` : stage.name;
      estimates.set(key, { ...own, name, key, folder });
    }
  }
  return [...estimates.values()];
}

const isSeeded = ({ plan }: OpenPlan, stage: string) => plan.seeds.stages.includes(stage);

/** Equal for stages that take the same: those that differ in their seed, or in where they begin. */
function costKey({ stage, key }: PlannedStage): string {
  if (stage.kind !== "train") return key;
  const { seed: _seed, init: _init, ...rest } = stage;
  return contentKey(rest);
}
