/** @file A stage of training: weights to begin with, the loop, the result's files. */

import { Store, type Stores } from "../data/index.js";
import { formatDims, misuse, type Tensor } from "../tensor/index.js";
import { type Checkpoint, openCheckpoint } from "../weights/index.js";
import { randomAt } from "./order.js";
import { resolveSteps, type Settings } from "./settings.js";
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
import { planTraining } from "./step-program.js";
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

/** Weights before the first step. */
export interface Beginning {
  /** In memory, f32. */
  initial: Weights;
  /** In files; those of them that are trained are not read yet. */
  base: Checkpoint | undefined;
}

/** Random weights, and in their places what is measured, and those of other stages and of files. @throws DiffsightError INIT */
export async function beginningOf(planned: PlannedTraining): Promise<Beginning> {
  const { task, config, settings, stage, needs } = planned;
  const base = await task.base?.(config);
  const initial = new Map(task.initial(config, randomAt("initial", settings.seed)));
  if (task.measured) {
    const found = await withData(planned, (data) => task.measured!({ config, data, seed: settings.seed }));
    for (const [key, tensor] of found) initial.set(key, tensor);
  }
  for (const one of stage.init) {
    if ("file" in one) {
      const file = await openCheckpoint(one.file);
      const keys = [...file.entries.keys()].filter((key) => matchKey(one.keys, key) !== undefined);
      const others = new Map<string, Tensor>();
      for (const key of keys) others.set(key, await file.read(key));
      takeOver({ initial, base }, others, { ...one, from: one.file }, stage.name);
    } else {
      const source = needs.get(one.from)!;
      if (isTraining(source)) takeOver({ initial, base }, await readWeights(source), one, stage.name);
    }
  }
  return { initial, base };
}

/** The same, with all that is trained in memory. */
export async function initialWeights(planned: PlannedTraining, settings: Settings): Promise<Beginning> {
  const { initial, base } = await beginningOf(planned);
  if (!base) return { initial, base };
  const { layout } = planTraining(planned.task, planned.config, settings, initial, base);
  const all = new Map(initial);
  for (const { key } of layout.slots) if (!all.has(key)) all.set(key, (await base.read(key)).to("f32"));
  return { initial: all, base };
}

/** Replaces weights by others: "text_model.*" as "text_encoder.text_model.*". */
function takeOver(
  { initial, base }: { initial: Map<string, Tensor>; base: Checkpoint | undefined },
  others: Weights,
  { from, keys, as = keys }: { from: string; keys: string; as?: string | undefined },
  stage: string,
): void {
  let taken = 0;
  for (const [key, tensor] of others) {
    const rest = matchKey(keys, key);
    if (rest === undefined) continue;
    const own = as.replace("*", () => rest);
    const dims = initial.get(own)?.dims ?? base?.entries.get(own)?.dims;
    if (!dims || formatDims(dims) !== formatDims(tensor.dims)) {
      const found = dims
        ? `is ${formatDims(dims)} here, ${formatDims(tensor.dims)} there`
        : "does not exist here";
      throw misuse("INIT", `${stage} cannot begin with "${key}" of ${from}: "${own}" ${found}.`);
    }
    initial.set(own, tensor.to("f32"));
    taken++;
  }
  if (taken === 0) throw misuse("INIT", `${stage}: ${from} has no weights "${keys}".`);
}

/** The settings with their steps counted. @throws what opening the stage's data may raise */
export async function countedSettings(planned: PlannedTraining): Promise<Settings> {
  const { task, config, settings } = planned;
  if (typeof settings.steps === "number") return resolveSteps(settings, 0);
  return withData(planned, async (data) => {
    const examples = await task.open({ config, data, seed: settings.seed });
    await examples.release?.();
    return resolveSteps(settings, examples.train);
  });
}

/** Does something with the stage's data, and closes them. */
async function withData<Result>(
  planned: PlannedTraining,
  use: (data: Stores) => Promise<Result>,
): Promise<Result> {
  const folders = Object.entries(dataFolders(planned));
  const stores = folders.map(([role, folder]) => [role, Store.open(folder)] as const);
  try {
    return await use(Object.fromEntries(stores));
  } finally {
    for (const [, store] of stores) store.close();
  }
}

/** Trains, or goes on training, and writes the weights. */
export async function makeWeights(
  planned: PlannedTraining,
  { threads, signal, onStep, onNotice, onWarning }: MakeWeightsOptions,
): Promise<StageResult> {
  const { stage, module, task, config, key, folder } = planned;
  await verifyData(planned, signal);
  for (const warning of task.warnings?.(config, planned.settings) ?? [])
    onWarning?.(`${stage.name}: ${warning}`);
  const settings = await countedSettings(planned);
  const trained = await train({
    name: stage.name,
    module,
    task,
    config,
    data: dataFolders(planned),
    settings,
    ...(await initialWeights(planned, settings)),
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
