/** @file A stage of export: trained weights in the folders of diffusers and transformers, with a model card. */

import { existsSync } from "node:fs";
import { copyFile, mkdir, rename, rm } from "node:fs/promises";
import { cpus } from "node:os";
import { basename, dirname, join } from "node:path";
import { misuse } from "../tensor/index.js";
import { writeFileAtomic } from "../weights/index.js";
import type { Recipe } from "./recipe.js";
import {
  isData,
  isTraining,
  type PlannedExport,
  type PlannedStage,
  type PlannedTraining,
  readResult,
  readWeights,
  type StageResult,
  writeResult,
} from "./stages.js";
import type { Component } from "./task.js";

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
    const made = await task.export({ config, weights, base: await task.base?.(config), dtype: stage.dtype });
    for (const component of made) components.set(component.name, component);
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
    await copyFile(join(place, "loss.csv"), join(unfinished, "training", `${source.name}.csv`));
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

/** Whom the data of these stages and of those that they come from is owed to. */
function creditsOf(stages: Iterable<PlannedStage>): string[] {
  const found = new Set<string>();
  const look = (stage: PlannedStage) => {
    if (isData(stage) && stage.producer.credits) found.add(stage.producer.credits);
    for (const needed of stage.needs.values()) look(needed);
  };
  for (const stage of stages) look(stage);
  return [...found];
}

const hours = (seconds: number) =>
  seconds < 60
    ? `${seconds.toFixed(0)} s`
    : seconds < 5400
      ? `${(seconds / 60).toFixed(0)} min`
      : `${(seconds / 3600).toFixed(1)} h`;

/** What the model is, what it was made from, and how well it did. */
async function modelCard(
  { stage }: PlannedExport,
  sources: readonly PlannedTraining[],
  recipe: Recipe,
): Promise<string> {
  const library = stage.layout === "pipeline" ? "diffusers" : "transformers";
  const parts: string[] = [];
  for (const source of sources) {
    const result = (await readResult(source))!;
    const { settings } = source;
    const parameters = [...(await readWeights(source)).values()].reduce((sum, { size }) => sum + size, 0);
    const validated = Object.entries(result.validation?.metrics ?? {}).map(
      ([name, value]) => `${name} ${value.toPrecision(4)}`,
    );
    const facts = [
      ["numbers", `${(parameters / 1e6).toFixed(2)} M`],
      ["steps", `${result.steps} of ${settings.batch} examples (${settings.parts} parts)`],
      ["seed", `${settings.seed}`],
      [
        "time",
        `${hours(result.seconds)} with ${result.threads} threads (${cpus()[0]?.model.trim() ?? "unknown processor"})`,
      ],
      ["loss at the end", result.loss?.toPrecision(4) ?? ""],
      ...(result.validation
        ? [["validation", [`loss ${result.validation.loss.toPrecision(4)}`, ...validated].join(", ")]]
        : []),
      ["key", `\`${source.key.slice(0, 12)}\``],
    ];
    parts.push(
      `### ${source.stage.name}: ${source.stage.task}`,
      `| what | value |\n|---|---|\n${facts.map((row) => `| ${row.join(" | ")} |`).join("\n")}`,
      `![Loss of ${source.stage.name} by step](training/${source.stage.name}.svg)`,
    );
  }
  return [
    `---\nlicense: ${stage.license}\nlibrary_name: ${library}\ntags: [diffsight]\n---`,
    `# ${stage.title}`,
    stage.description,
    `Trained by \`diffsight train\` from the recipe below; the same recipe gives the same weights, bit for bit, on a machine of the same kind. Stored as ${stage.dtype}.`,
    "## Training",
    ...parts,
    ...creditsOf(sources).flatMap((one, i) => (i === 0 ? ["## Data", one] : [one])),
    "## Recipe",
    `\`\`\`json\n${JSON.stringify(recipe, undefined, 2)}\n\`\`\`\n`,
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}
