/**
 * @file Checkpoints of a run: everything that the next step depends on. What is drawn is a function of the seed and the
 * step, so that the step is also the state of chance and the place in the data.
 */

import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { hashBytes } from "../data/index.js";
import {
  type DiffsightError,
  decodeSafetensors,
  encodeSafetensors,
  failure,
  type Tensor,
} from "../tensor/index.js";
import { writeFileAtomic } from "../weights/index.js";
import { flatten, type Layout, unflatten } from "./weights.js";
import type { SharedArrays } from "./worker.js";

const progressSchema = z.strictObject({
  /** Steps done. */
  step: z.number().int().min(0),
  /** Seconds of training so far. */
  seconds: z.number(),
  /** The best validation so far. */
  best: z.strictObject({ step: z.number().int(), loss: z.number() }).optional(),
  /** Validations since then. */
  waited: z.number().int(),
});

/** Where a run is, beside its arrays. */
export type RunProgress = z.infer<typeof progressSchema>;

const noteSchema = z.strictObject({
  format: z.literal("diffsight-run-1"),
  /** What is being trained, as `contentKey` gives it. */
  key: z.string(),
  file: z.string(),
  sha256: z.string(),
  progress: progressSchema,
});

/** Checkpoints that are kept: should the last one be damaged, the one before is taken. */
const kept = 2;

const nameOf = (step: number) => `step-${String(step).padStart(8, "0")}`;

const arrayNames = ["weights", "first", "second", "average"] as const;

/** Writes a checkpoint whole or not at all, then removes old ones. @throws DISK_FULL, FILE_ACCESS; older ones stay */
export async function saveCheckpoint(
  folder: string,
  {
    key,
    layout,
    arrays,
    progress,
  }: { key: string; layout: Layout; arrays: SharedArrays; progress: RunProgress },
): Promise<void> {
  const name = nameOf(progress.step);
  const tensors = arrayNames.flatMap((array) => {
    const flat = arrays[array];
    if (!flat) return [];
    return [...unflatten(layout, flat)].map(([key, tensor]) => [`${array}/${key}`, tensor] as const);
  });
  const bytes = encodeSafetensors(tensors);
  const file = `${name}.safetensors`;
  const note = { format: "diffsight-run-1", key, file, sha256: hashBytes(bytes), progress };
  await writeFileAtomic(join(folder, file), bytes);
  await writeFileAtomic(join(folder, `${name}.json`), `${JSON.stringify(note)}\n`);
  const steps = (await stepsIn(folder)).filter((step) => step !== progress.step);
  for (const old of steps.slice(kept - 1)) {
    for (const ending of ["json", "safetensors"])
      await rm(join(folder, `${nameOf(old)}.${ending}`), { force: true });
  }
}

/** Steps of the checkpoints in a folder, the latest first. */
async function stepsIn(folder: string): Promise<number[]> {
  const names = await readdir(folder).catch(() => []);
  const steps = names.flatMap((name) => /^step-(\d+)\.json$/.exec(name)?.[1] ?? []);
  return steps.map(Number).sort((a, b) => b - a);
}

/**
 * Reads the latest whole checkpoint into the arrays.
 * @param onBroken told of each one that is damaged
 * @returns undefined when there is none
 * @throws CHECKPOINT_BROKEN when there are some and all are damaged, CHECKPOINT_OTHER when it is of another run
 */
export async function loadCheckpoint(
  folder: string,
  { key, layout, arrays }: { key: string; layout: Layout; arrays: SharedArrays },
  onBroken: (message: string) => void,
): Promise<RunProgress | undefined> {
  const steps = await stepsIn(folder);
  for (const step of steps) {
    const path = join(folder, `${nameOf(step)}.json`);
    try {
      const { tensors, note } = await readCheckpoint(folder, path);
      if (note.key !== key) {
        throw failure(
          "CHECKPOINT_OTHER",
          `${path} belongs to another run. Choose another folder, or remove ${folder}.`,
        );
      }
      for (const array of arrayNames) {
        const flat = arrays[array];
        if (!flat) continue;
        const own = [...tensors].filter(([name]) => name.startsWith(`${array}/`));
        flatten(layout, new Map(own.map(([name, tensor]) => [name.slice(array.length + 1), tensor])), flat);
      }
      return note.progress;
    } catch (error) {
      if ((error as DiffsightError).code === "CHECKPOINT_OTHER") throw error;
      onBroken(`${path.replace(/json$/, "safetensors")} is damaged (${(error as Error).message})`);
    }
  }
  if (steps.length === 0) return undefined;
  const where = steps.length === 1 ? "The only checkpoint" : `All ${steps.length} checkpoints`;
  throw failure(
    "CHECKPOINT_BROKEN",
    `${where} in ${folder} cannot be read. Remove the folder to begin anew.`,
  );
}

async function readCheckpoint(
  folder: string,
  path: string,
): Promise<{ tensors: Map<string, Tensor>; note: z.infer<typeof noteSchema> }> {
  const note = noteSchema.parse(JSON.parse(await readFile(path, "utf8")));
  const bytes = await readFile(join(folder, note.file));
  if (hashBytes(bytes) !== note.sha256) throw failure("FILE_CORRUPT", "its hash is not what was written");
  return { tensors: decodeSafetensors(bytes).tensors, note };
}
