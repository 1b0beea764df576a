/**
 * @file A recipe's stages with their addresses: a stage's key is made of everything that its result depends on, the keys
 * of earlier stages among it. What has been made under a key is never made again.
 */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { contentKey, hashFile, Store, storeFile } from "../data/index.js";
import { decodeSafetensors, encodeSafetensors, failure, formatPath, misuse } from "../tensor/index.js";
import { writeFileAtomic } from "../weights/index.js";
import type { Producer } from "./producer.js";
import {
  checked,
  type DataStage,
  type ExportStage,
  type Recipe,
  references,
  type TrainStage,
} from "./recipe.js";
import { loadProducer, loadTask, type Registry } from "./registry.js";
import type { StageSettings } from "./settings.js";
import { stepLog } from "./step-log.js";
import type { Task, Weights } from "./task.js";

interface Placed {
  /** Address of the result. */
  key: string;
  /** Where it is made, and lies. */
  folder: string;
  /** Stages that it needs, by name. */
  needs: ReadonlyMap<string, PlannedStage>;
}

export interface PlannedData extends Placed {
  stage: DataStage;
  module: string;
  producer: Producer;
  config: unknown;
}

export interface PlannedTraining extends Placed {
  stage: TrainStage;
  module: string;
  task: Task;
  config: unknown;
  settings: StageSettings;
}

export interface PlannedExport extends Placed {
  stage: ExportStage;
}

export type PlannedStage = PlannedData | PlannedTraining | PlannedExport;

export const isData = (planned: PlannedStage): planned is PlannedData => planned.stage.kind === "data";
export const isTraining = (planned: PlannedStage): planned is PlannedTraining =>
  planned.stage.kind === "train";
export const isExport = (planned: PlannedStage): planned is PlannedExport => planned.stage.kind === "export";

/** Fields by role -> the keys of the stages that play them. */
function keysOf(roles: Readonly<Record<string, string>>, done: ReadonlyMap<string, PlannedStage>) {
  return Object.fromEntries(Object.entries(roles).map(([role, name]) => [role, done.get(name)!.key]));
}

/**
 * Checks every stage's config by its own task or producer, and finds every stage's address.
 * @param out the run's folder
 * @throws DiffsightError RECIPE
 */
export async function planStages(recipe: Recipe, out: string, registry: Registry): Promise<PlannedStage[]> {
  const done = new Map<string, PlannedStage>();
  const sources = new Map<string, Promise<string> | undefined>();
  for (const [i, stage] of recipe.stages.entries()) {
    const at = ["stages", i];
    const needs = new Map(references(stage).map(({ name }) => [name, done.get(name)!]));
    const place = (identity: unknown): Placed => {
      const key = contentKey(identity);
      return { key, needs, folder: join(out, stage.name, key.slice(0, 12)) };
    };
    if (stage.kind === "data") {
      const { module, producer } = await loadProducer(
        registry,
        stage.producer,
        formatPath([...at, "producer"]),
      );
      const config = checked(producer.config, stage.config, [...at, "config"]);
      const { version } = producer;
      // A model or a world that many stages share is hashed once.
      const from = contentKey([stage.producer, config]);
      if (!sources.has(from)) sources.set(from, producer.source?.(config));
      const source = await sources.get(from);
      const [data, models] = [keysOf(stage.data, done), keysOf(stage.models, done)];
      const identity = { kind: "data", producer: stage.producer, version, source, config, data, models };
      done.set(stage.name, {
        stage,
        module,
        producer,
        config,
        ...place({ ...identity, shard: stage.shard }),
      });
    } else if (stage.kind === "train") {
      const { module, task } = await loadTask(registry, stage.task, formatPath([...at, "task"]));
      const said = checked(task.config, stage.config, [...at, "config"]);
      const config = task.read ? await task.read(said) : said;
      const { name: _name, kind, task: taskName, config: _config, data, init, ...settings } = stage;
      // How often checkpoints are written changes nothing of the result.
      const { checkpoint: _checkpoint, ...counting } = settings;
      const identity = {
        kind,
        task: taskName,
        version: task.version,
        config,
        settings: counting,
        data: keysOf(data, done),
        init: await Promise.all(
          init.map(async (one) =>
            "from" in one
              ? { ...one, from: done.get(one.from)!.key }
              : { ...one, file: await hashFile(one.file) },
          ),
        ),
      };
      done.set(stage.name, { stage, module, task, config, settings, ...place(identity) });
    } else {
      const { name: _name, ...fields } = stage;
      done.set(stage.name, {
        stage,
        ...place({ ...fields, from: stage.from.map((name) => done.get(name)!.key) }),
      });
    }
  }
  return [...done.values()];
}

const resultSchema = z.strictObject({
  format: z.literal("diffsight-result-1"),
  key: z.string(),
  /** SHA-256 of weights.safetensors. */
  weights: z.string().optional(),
  /** Wall time, without pauses. */
  seconds: z.number(),
  /** Of the machine that made it. */
  threads: z.number().int(),
  steps: z.number().int().optional(),
  loss: z.number().optional(),
  validation: z.strictObject({ loss: z.number(), metrics: z.record(z.string(), z.number()) }).optional(),
  /** When it was done, as ISO 8601. */
  finished: z.string(),
});

/** What is known of a finished stage beside what it made. */
export type StageResult = z.infer<typeof resultSchema>;

const resultFile = "result.json";
const weightsFile = "weights.safetensors";

/** The result, when the stage is done. @throws DiffsightError RESULT_CORRUPT */
export async function readResult({ folder, key }: Placed): Promise<StageResult | undefined> {
  const path = join(folder, resultFile);
  if (!existsSync(path)) return undefined;
  try {
    const result = resultSchema.parse(JSON.parse(await readFile(path, "utf8")));
    if (result.key === key) return result;
  } catch (cause) {
    throw failure("RESULT_CORRUPT", `${path} is damaged. Remove ${folder} to make it again.`, cause);
  }
  throw misuse("RESULT_CORRUPT", `${path} belongs to another stage. Remove ${folder} to make it again.`);
}

/** Written last: a folder with it is whole. */
export async function writeResult(
  { folder, key }: Placed,
  result: Omit<StageResult, "format" | "key" | "finished">,
): Promise<StageResult> {
  const whole: StageResult = {
    format: "diffsight-result-1",
    key,
    ...result,
    finished: new Date().toISOString(),
  };
  await writeFileAtomic(join(folder, resultFile), `${JSON.stringify(whole, undefined, 2)}\n`);
  return whole;
}

/** Whether a stage's result is there. */
export async function isDone(planned: PlannedStage): Promise<boolean> {
  if (isData(planned)) return existsSync(join(planned.folder, storeFile));
  return (await readResult(planned)) !== undefined;
}

export type StageStatus = "done" | "begun" | "to do";

/** How far a stage is. @throws DiffsightError RESULT_CORRUPT */
export async function statusOf(planned: PlannedStage): Promise<StageStatus> {
  if (await isDone(planned)) return "done";
  const log = isTraining(planned) ? stepLog(planned.folder) : join(planned.folder, "ledger.jsonl");
  return existsSync(log) ? "begun" : "to do";
}

/** @returns the hash of the file */
export async function writeWeights({ folder }: Placed, weights: Weights): Promise<string> {
  const path = join(folder, weightsFile);
  await writeFileAtomic(path, encodeSafetensors(weights));
  return hashFile(path);
}

export const weightsPath = ({ folder }: Placed): string => join(folder, weightsFile);

/** The weights of a finished stage of training. @throws DiffsightError RESULT_CORRUPT when they are damaged */
export async function readWeights(planned: PlannedTraining): Promise<Weights> {
  const result = await readResult(planned);
  const path = weightsPath(planned);
  const bytes = await readFile(path).catch(() => new Uint8Array());
  if (bytes.length === 0 || (await hashFile(path)) !== result?.weights) {
    throw failure(
      "RESULT_CORRUPT",
      `${path} is not what was written. Remove ${planned.folder} to train it again.`,
    );
  }
  return decodeSafetensors(bytes).tensors;
}

/** Folders of the stores that play a stage's roles. */
export function dataFolders(planned: PlannedData | PlannedTraining): Record<string, string> {
  const roles = Object.entries(planned.stage.data);
  return Object.fromEntries(roles.map(([role, name]) => [role, planned.needs.get(name)!.folder]));
}

/** Compares what a stage is about to read with what was written. @throws DiffsightError STORE_CORRUPT */
export async function verifyData(
  planned: PlannedData | PlannedTraining,
  signal?: AbortSignal,
): Promise<void> {
  for (const folder of new Set(Object.values(dataFolders(planned)))) {
    using store = Store.open(folder);
    await store.verify(signal && { signal });
  }
}
