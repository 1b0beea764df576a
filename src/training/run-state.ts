/** @file What a run has done so far, from its folder alone: it may go on meanwhile. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Store } from "../data/index.js";
import { failure } from "../tensor/index.js";
import type { LoggedStep } from "./curve.js";
import { modelFolder } from "./make-export.js";
import { parseRecipe, type Recipe } from "./recipe.js";
import type { Registry } from "./registry.js";
import {
  isData,
  isTraining,
  type PlannedStage,
  planStages,
  readResult,
  type StageResult,
  type StageStatus,
  statusOf,
} from "./stages.js";
import { loggedSteps } from "./step-log.js";

export interface StageState {
  name: string;
  kind: PlannedStage["stage"]["kind"];
  /** Where it lies; a model in its users' place. */
  folder: string;
  status: StageStatus;
  /** Of finished training and exports. */
  result?: StageResult;
  /** Of training: what was logged, step by step; empty before it begins. */
  steps?: readonly LoggedStep[];
  /** Of training: how many steps there are to be; with epochs that shows only when it begins. */
  wanted?: number;
  /** Of finished data. */
  rows?: number;
  /** Of a model. */
  title?: string;
}

/**
 * Reads a folder that a recipe has been run in.
 * @throws DiffsightError FILE_MISSING when it holds no run; RECIPE, and RESULT_CORRUPT for what is damaged
 */
export async function readRun(
  out: string,
  registry: Registry,
): Promise<{ recipe: Recipe; stages: StageState[] }> {
  const path = join(out, "recipe.json");
  const text = await readFile(path, "utf8").catch((cause: Error) => {
    throw failure("FILE_MISSING", `${out} holds no run: ${path} cannot be read.`, cause);
  });
  const recipe = parseRecipe(text);
  const stages: StageState[] = [];
  for (const planned of await planStages(recipe, out, registry)) stages.push(await stateOf(planned, out));
  return { recipe, stages };
}

async function stateOf(planned: PlannedStage, out: string): Promise<StageState> {
  const { folder } = planned;
  const { name, kind } = planned.stage;
  const status = await statusOf(planned);
  const common = { name, kind, folder, status };
  if (isData(planned)) return { ...common, ...(status === "done" && { rows: rowsOf(folder) }) };
  const result = await readResult(planned);
  const done = result && { result };
  if (!isTraining(planned))
    return { ...common, folder: modelFolder(out, name), title: planned.stage.title, ...done };
  const { steps: asked } = planned.settings;
  const wanted = result?.steps ?? (typeof asked === "number" ? asked : undefined);
  return {
    ...common,
    ...done,
    steps: await loggedSteps(folder),
    ...(wanted !== undefined && { wanted }),
  };
}

function rowsOf(folder: string): number {
  using store = Store.open(folder);
  return store.rows;
}
