/** @file What a run has done so far, from its folder alone: it may go on meanwhile. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Store, storeFile } from "../data/index.js";
import { failure } from "../tensor/index.js";
import type { LoggedStep } from "./curve.js";
import { modelFolder } from "./make-export.js";
import { parseRecipe, type Recipe } from "./recipe.js";
import type { Registry } from "./registry.js";
import {
  isData,
  isExport,
  isTraining,
  type PlannedStage,
  planStages,
  readResult,
  type StageResult,
} from "./stages.js";

export interface StageState {
  name: string;
  kind: PlannedStage["stage"]["kind"];
  /** Where it lies; a model in its users' place. */
  folder: string;
  status: "done" | "begun" | "to do";
  /** Of finished training and exports. */
  result?: StageResult;
  /** Of training: what was logged, step by step. */
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
  if (isData(planned)) {
    const status = existsSync(join(folder, storeFile))
      ? "done"
      : existsSync(join(folder, "ledger.jsonl"))
        ? "begun"
        : "to do";
    return { name, kind, folder, status, ...(status === "done" && { rows: rowsOf(folder) }) };
  }
  const result = await readResult(planned);
  const done = result && { result };
  if (isExport(planned))
    return {
      name,
      kind,
      folder: modelFolder(out, name),
      status: result ? "done" : "to do",
      title: planned.stage.title,
      ...done,
    };
  if (!isTraining(planned)) throw new Error(`A stage of no known kind: ${kind}.`);
  const steps = await loggedSteps(folder);
  const status = result ? "done" : steps.length > 0 ? "begun" : "to do";
  const { steps: asked } = planned.settings;
  const wanted = result?.steps ?? (typeof asked === "number" ? asked : undefined);
  return { name, kind, folder, status, ...done, steps, ...(wanted !== undefined && { wanted }) };
}

function rowsOf(folder: string): number {
  using store = Store.open(folder);
  return store.rows;
}

/** Whole lines only: the last one may be in the making. */
async function loggedSteps(folder: string): Promise<LoggedStep[]> {
  const text = await readFile(join(folder, "metrics.jsonl"), "utf8").catch(() => "");
  const lines = text.split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as LoggedStep);
}
