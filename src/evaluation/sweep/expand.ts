/** @file A plan as ordinary recipes: one for each variant and seed. What several have in common has one address in all. */

import { readFile } from "node:fs/promises";
import { dirname, extname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { DiffsightError, failure, misuse } from "../../tensor/index.js";
import { absoluteModel, parseRecipe, type Recipe, type TrainStage } from "../../training/index.js";
import { type ModelReference, parseDescription, type VlmDescription } from "../../vlm/index.js";
import type { JudgeOptions } from "../answers/judge.js";
import { withFeatures } from "./features.js";
import { overridden, type StageJson } from "./overrides.js";
import { parsePlan, type SweepPlan } from "./plan.js";

/** A plan with the stages of its base; models are named by absolute paths. */
export interface OpenPlan {
  plan: SweepPlan;
  base: StageJson[];
  /** The plan's own. */
  folder: string;
}

/** One model to be trained and judged. */
export interface SweepRun {
  variant: string;
  seed: number;
  /** Its last stage exports the model, under the name `<variant>-<seed>`. */
  recipe: Recipe;
  /** Of the stage that is seeded last: what the model sees. */
  description: VlmDescription;
}

/**
 * Reads a plan and its base.
 * @throws DiffsightError PLAN, FILE_MISSING
 */
export async function openPlan(path: string): Promise<OpenPlan> {
  const plan = parsePlan(await textOf(path));
  const folder = dirname(resolve(path));
  if (typeof plan.base !== "string") return { plan, folder, base: located(plan.base as StageJson[], folder) };
  const recipe = extname(plan.base) === "" ? ownRecipe(plan.base) : resolve(folder, plan.base);
  const { stages } = parseRecipe(await textOf(recipe));
  return { plan, folder, base: located(stages as unknown as StageJson[], dirname(recipe)) };
}

/** A recipe that comes with the package. */
const ownRecipe = (name: string) => fileURLToPath(new URL(`../../../recipes/${name}.json`, import.meta.url));

async function textOf(path: string): Promise<string> {
  return readFile(path, "utf8").catch((cause: Error) => {
    throw failure("FILE_MISSING", `${path} cannot be read: ${cause.message}.`, cause);
  });
}

/** `model: "../..."` of data and of encoders, as absolute paths. */
function located(stages: readonly StageJson[], folder: string): StageJson[] {
  const place = (holder: unknown) => {
    if (typeof holder !== "object" || holder === null || !("model" in holder)) return;
    holder.model = absoluteModel(holder.model as ModelReference, folder);
  };
  const changed = structuredClone(stages) as (StageJson & {
    config?: { sight?: { encoders?: Record<string, unknown> } };
  })[];
  for (const { config } of changed) {
    place(config);
    for (const encoder of Object.values(config?.sight?.encoders ?? {})) place(encoder);
  }
  return changed;
}

/** Where the CLIP lies whose blindness counts. */
export const blindClip = ({ plan, folder }: OpenPlan): string | undefined =>
  plan.judge.clip && (absoluteModel(plan.judge.clip, folder) as string);

/** How a plan judges. */
export function judgeOptions(opened: OpenPlan, tuning: boolean): JudgeOptions {
  const { scenes, twins, unseen, options, leakage } = opened.plan.judge;
  return { scenes: { test: scenes, twins, unseen }, tuning, options, leakage, clip: blindClip(opened) };
}

export interface Choice {
  /** Variants. Default: all. */
  only?: readonly string[] | undefined;
  /** The first so many seeds. Default: all. */
  seeds?: number | undefined;
}

/**
 * The runs of a plan: all variants with the first seed, then all with the next.
 * @throws DiffsightError PLAN, RECIPE, JUDGE that name the variant
 */
export function expandPlan(opened: OpenPlan, { only, seeds }: Choice = {}): SweepRun[] {
  const { variants, seeds: all } = opened.plan;
  const known = Object.keys(variants);
  const stranger = only?.find((name) => !known.includes(name));
  if (stranger !== undefined)
    throw misuse("PLAN", `No variant is called "${stranger}": there are ${known.join(", ")}.`);
  if (seeds !== undefined && (seeds < 1 || seeds > all.values.length))
    throw misuse("RANGE", `The plan has ${all.values.length} seeds, not ${seeds}.`);
  const chosen = known.filter((name) => only?.includes(name) ?? true);
  return all.values.slice(0, seeds).flatMap((seed) => chosen.map((variant) => runOf(opened, variant, seed)));
}

function runOf(opened: OpenPlan, variant: string, seed: number): SweepRun {
  const { plan, folder, base } = opened;
  const { stages, set } = plan.variants[variant]!;
  const own = [...overridden(base, plan.set, "set"), ...located(stages as StageJson[], folder)];
  const changed = located(overridden(own, set, `variants.${variant}.set`), folder);
  try {
    const seeded = withSeed(changed, plan, seed);
    const needed = neededBy(withFeatures(seeded, plan.model), plan.model);
    const idle = stages.findIndex(({ name }) => !needed.some((stage) => stage.name === name));
    if (idle !== -1) throw misuse("PLAN", `stages[${idle}]: the model does not need "${stages[idle]!.name}"`);
    const renamed = needed.map((stage) =>
      stage.name === plan.model ? { ...stage, name: `${variant}-${seed}` } : stage,
    );
    const recipe = parseRecipe(
      JSON.stringify({ name: plan.name, description: plan.description, stages: renamed }),
    );
    return { variant, seed, recipe, description: seenBy(recipe) };
  } catch (error) {
    if (!(error instanceof DiffsightError)) throw error;
    throw misuse(error.code, `variants.${variant}: ${error.message}`);
  }
}

function withSeed(stages: readonly StageJson[], plan: SweepPlan, seed: number): StageJson[] {
  const names = stages.map(({ name }) => name);
  const stranger = plan.seeds.stages.findIndex((name) => !names.includes(name));
  if (stranger !== -1) {
    const wrong = `no stage is called "${plan.seeds.stages[stranger]}"`;
    throw misuse("PLAN", `seeds.stages[${stranger}]: ${wrong} (${names.join(", ")})`);
  }
  return stages.map((stage) => (plan.seeds.stages.includes(stage.name) ? { ...stage, seed } : stage));
}

/** A stage and those that it needs, each after its own needs. */
function neededBy(stages: readonly StageJson[], name: string): StageJson[] {
  const byName = new Map(stages.map((stage) => [stage.name, stage]));
  if (!byName.has(name))
    throw misuse("PLAN", `model: no stage is called "${name}" (${[...byName.keys()].join(", ")})`);
  const ordered = new Set<StageJson>();
  const begun = new Set<string>();
  const visit = (name: string) => {
    const stage = byName.get(name);
    if (!stage || begun.has(name)) return;
    begun.add(name);
    for (const need of needsOf(stage)) visit(need);
    ordered.add(stage);
  };
  visit(name);
  return [...ordered];
}

/** What is said of needs before anything is checked. */
function needsOf({ data, models, init, from }: StageJson): string[] {
  const values = (field: unknown) =>
    typeof field === "object" && field !== null ? Object.values(field) : [];
  const inits = values(init).map((one) => (one as { from?: unknown } | null)?.from);
  return [...values(data), ...values(models), ...inits, ...values(from)].filter(
    (name) => typeof name === "string",
  );
}

/** What the exported model sees. */
function seenBy({ stages }: Recipe): VlmDescription {
  const model = stages.at(-1)!;
  if (model.kind !== "export") throw misuse("PLAN", `model: ${model.name} is no stage of export`);
  const trained = stages.find(({ name }) => name === model.from.at(-1)) as TrainStage;
  const { sight } = trained.config;
  if (!sight)
    throw misuse("PLAN", `${trained.name}: config.sight is missing: a model that sees nothing is not judged`);
  if (typeof sight === "string")
    throw misuse("PLAN", `${trained.name}: config.sight is written out in a sweep, not a path`);
  return parseDescription(sight);
}
