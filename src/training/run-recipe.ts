/** @file A recipe from its first stage to its last; what is done already is left alone. */

import { existsSync } from "node:fs";
import { mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { failure } from "../tensor/index.js";
import { writeFileAtomic } from "../weights/index.js";
import { type DataEvent, makeData } from "./make-data.js";
import { makeExport, modelFolder, publish } from "./make-export.js";
import { makeWeights } from "./make-weights.js";
import type { Recipe } from "./recipe.js";
import { builtIn, type Registry } from "./registry.js";
import {
  isData,
  isDone,
  isTraining,
  type PlannedStage,
  planStages,
  readResult,
  type StageResult,
} from "./stages.js";
import type { TrainingEvent } from "./train.js";

export type RecipeEvent =
  /** A stage begins; `done` when there is nothing to do. */
  | { kind: "stage"; name: string; index: number; stages: number; done: boolean }
  | ({ kind: "rows"; name: string } & DataEvent)
  | ({ kind: "step"; name: string } & TrainingEvent)
  | { kind: "notice"; name: string; message: string; warning: boolean };

export interface RunOptions {
  /** The run's folder. */
  out: string;
  threads: number;
  registry?: Registry;
  signal?: AbortSignal | undefined;
  onEvent?: (event: RecipeEvent) => void;
}

export interface StageSummary {
  name: string;
  kind: PlannedStage["stage"]["kind"];
  folder: string;
  result: StageResult | undefined;
}

/**
 * Runs the stages that are not done.
 * @throws DiffsightError RECIPE, RUN_LOCKED when another process works in the folder, ABORTED with everything saved, and
 * what stages throw
 */
export async function runRecipe(recipe: Recipe, options: RunOptions): Promise<StageSummary[]> {
  const { out, threads, registry = builtIn, signal, onEvent = () => {} } = options;
  const planned = await planStages(recipe, out, registry);
  await using _lock = await lockFolder(out);
  await writeFileAtomic(join(out, "recipe.json"), `${JSON.stringify(recipe, undefined, 2)}\n`);
  for (const [index, one] of planned.entries()) {
    const { name } = one.stage;
    const done = await isDone(one);
    onEvent({ kind: "stage", name, index, stages: planned.length, done });
    if (isData(one)) {
      if (!done)
        await makeData(one, {
          threads,
          signal,
          onRows: (event) => onEvent({ kind: "rows", name, ...event }),
          onWarning: (message) => onEvent({ kind: "notice", name, message, warning: true }),
        });
    } else if (isTraining(one)) {
      if (done) continue;
      await makeWeights(one, {
        threads,
        signal,
        onStep: (event) => onEvent({ kind: "step", name, ...event }),
        onNotice: (message) => onEvent({ kind: "notice", name, message, warning: false }),
        onWarning: (message) => onEvent({ kind: "notice", name, message, warning: true }),
      });
    } else if (!done) await makeExport(one, recipe, out);
    else if (!existsSync(modelFolder(out, name))) await publish(one, out);
  }
  return Promise.all(
    planned.map(async (one) => ({
      name: one.stage.name,
      kind: one.stage.kind,
      folder: one.stage.kind === "export" ? modelFolder(out, one.stage.name) : one.folder,
      result: isData(one) ? undefined : await readResult(one),
    })),
  );
}

/** Keeps a second process out of the folder; the lock of a killed one is taken over. */
async function lockFolder(out: string): Promise<AsyncDisposable> {
  await mkdir(out, { recursive: true });
  const path = join(out, "run.lock");
  const owner = Number(await readFile(path, "utf8").catch(() => "0"));
  if (owner > 0 && owner !== process.pid && isAlive(owner)) {
    throw failure(
      "RUN_LOCKED",
      `Process ${owner} is at work in ${out}. Wait for it, or choose another folder.`,
    );
  }
  await rm(path, { force: true });
  const file = await open(path, "wx").catch((cause) => {
    throw failure("RUN_LOCKED", `Another process has just begun to work in ${out}.`, cause);
  });
  await file.writeFile(`${process.pid}`);
  await file.close();
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
