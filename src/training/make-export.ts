/** @file A stage of export: trained weights in the folders of diffusers and transformers, with a model card. */

import { existsSync } from "node:fs";
import { copyFile, mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { misuse } from "../tensor/index.js";
import { writeFileAtomic } from "../weights/index.js";
import { modelCard } from "./model-card.js";
import type { Recipe } from "./recipe.js";
import { drawSamples, samplesFile } from "./samples.js";
import { isTraining, type PlannedExport, readWeights, type StageResult, writeResult } from "./stages.js";
import { type Component, llavaClass } from "./task.js";

/** Where an exported model lies for its users, whatever its key. */
export function modelFolder(out: string, name: string): string {
  return join(out, "models", name);
}

/**
 * Writes the model's folder under its key, and then in its own place, where it replaces an older one at once.
 * @throws DiffsightError EXPORT when a stage's task has no files to give
 */
export async function makeExport(planned: PlannedExport, recipe: Recipe, out: string): Promise<StageResult> {
  const begin = Date.now();
  const { stage, folder, needs } = planned;
  const sources = stage.from.map((name) => needs.get(name)!).filter(isTraining);
  const components = new Map<string, Component>();
  for (const source of sources) {
    const { task, config } = source;
    if (!task.export)
      throw misuse("EXPORT", `${stage.name}: the task "${source.stage.task}" exports nothing.`);
    const weights = await readWeights(source);
    const { dtype, layout } = stage;
    const made = await task.export({ config, weights, base: await task.base?.(config), dtype, layout });
    for (const component of made) components.set(component.name, component);
    if (layout === "llava" && made.some(({ kind: [, name] }) => name !== llavaClass))
      throw misuse("EXPORT", `${stage.name}: the task "${source.stage.task}" makes no LLaVA.`);
  }
  const unfinished = `${folder}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  for (const { name, files } of components.values()) {
    const place = stage.layout === "pipeline" ? join(unfinished, name) : unfinished;
    for (const [path, contents] of Object.entries(files))
      await writeFileAtomic(join(place, path), typeof contents === "function" ? await contents() : contents);
  }
  if (stage.layout === "pipeline") {
    await writeFileAtomic(join(unfinished, "model_index.json"), pipelineIndex([...components.values()]));
  }
  for (const { stage: source, folder: place } of sources) {
    const curve = join(place, "curve.svg");
    if (!existsSync(curve)) continue;
    await mkdir(join(unfinished, "training"), { recursive: true });
    await copyFile(curve, join(unfinished, "training", `${source.name}.svg`));
  }
  if (stage.samples.length > 0) {
    await writeFileAtomic(join(unfinished, samplesFile), await drawSamples(unfinished, stage.samples));
  }
  await writeFileAtomic(join(unfinished, "README.md"), await modelCard(planned, sources, recipe));
  await rm(folder, { recursive: true, force: true });
  await rename(unfinished, folder);
  const result = await writeResult(planned, { seconds: (Date.now() - begin) / 1000, threads: 1 });
  await publish(planned, out);
  return result;
}

/** Puts a finished export in its users' place. */
export async function publish({ folder, stage }: PlannedExport, out: string): Promise<void> {
  const { cp } = await import("node:fs/promises");
  const place = modelFolder(out, stage.name);
  const next = join(dirname(place), `.${basename(place)}.next`);
  await rm(next, { recursive: true, force: true });
  await cp(folder, next, { recursive: true });
  await rm(join(next, "result.json"), { force: true });
  await rm(place, { recursive: true, force: true });
  await rename(next, place);
}

function pipelineIndex(components: readonly Component[]): string {
  const fields = components.map(({ name, kind }) => [name, kind] as const);
  const absent = {
    safety_checker: [null, null],
    feature_extractor: [null, null],
    requires_safety_checker: false,
  };
  const index = { _class_name: "StableDiffusionPipeline", ...Object.fromEntries(fields), ...absent };
  return `${JSON.stringify(index, undefined, 2)}\n`;
}
