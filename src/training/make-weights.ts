/** @file A stage of training: weights to begin with, the loop, the result's files. */

import { formatDims, misuse, type Tensor } from "../tensor/index.js";
import { randomAt } from "./order.js";
import type { TrainStage } from "./recipe.js";
import {
  dataFolders,
  isTraining,
  type PlannedTraining,
  readWeights,
  type StageResult,
  verifyData,
  writeResult,
  writeWeights,
} from "./stages.js";
import type { Weights } from "./task.js";
import { discardRun, type TrainingEvent, train } from "./train.js";
import { matchKey } from "./weights.js";

export interface MakeWeightsOptions {
  threads: number;
  signal?: AbortSignal | undefined;
  onStep?: (event: TrainingEvent) => void;
  onNotice?: (message: string) => void;
  onWarning?: (message: string) => void;
}

/** Random weights, and in their places those of other stages. @throws DiffsightError INIT */
export async function initialWeights(planned: PlannedTraining): Promise<Weights> {
  const { task, config, settings, stage, needs } = planned;
  const weights = new Map(task.initial(config, randomAt("initial", settings.seed)));
  for (const one of stage.init) {
    const source = needs.get(one.from)!;
    if (isTraining(source)) takeOver(weights, await readWeights(source), one, stage.name);
  }
  return weights;
}

/** Replaces weights by another stage's: "text_model.*" as "text_encoder.text_model.*". */
function takeOver(
  weights: Map<string, Tensor>,
  others: Weights,
  { from, keys, as = keys }: TrainStage["init"][number],
  stage: string,
): void {
  let taken = 0;
  for (const [key, tensor] of others) {
    const rest = matchKey(keys, key);
    if (rest === undefined) continue;
    const own = as.replace("*", () => rest);
    const dims = weights.get(own)?.dims;
    if (!dims || formatDims(dims) !== formatDims(tensor.dims)) {
      const found = dims
        ? `is ${formatDims(dims)} here, ${formatDims(tensor.dims)} there`
        : "does not exist here";
      throw misuse("INIT", `${stage} cannot begin with "${key}" of ${from}: "${own}" ${found}.`);
    }
    weights.set(own, tensor.to("f32"));
    taken++;
  }
  if (taken === 0) throw misuse("INIT", `${stage}: ${from} has no weights "${keys}".`);
}

/** Trains, or goes on training, and writes the weights. */
export async function makeWeights(
  planned: PlannedTraining,
  { threads, signal, onStep, onNotice, onWarning }: MakeWeightsOptions,
): Promise<StageResult> {
  const { stage, module, task, config, settings, key, folder } = planned;
  await verifyData(planned, signal);
  const trained = await train({
    name: stage.name,
    module,
    task,
    config,
    data: dataFolders(planned),
    settings,
    initial: await initialWeights(planned),
    key,
    folder,
    threads,
    signal,
    ...(onStep && { onStep }),
    ...(onNotice && { onNotice }),
    ...(onWarning && { onWarning }),
  });
  const { steps, seconds, loss, validation } = trained;
  const weights = await writeWeights(planned, trained.weights);
  const result = { weights, seconds, threads, steps, loss, ...(validation && { validation }) };
  const written = await writeResult(planned, result);
  await discardRun(folder);
  return written;
}
