/** @file Recipes: stages of data, training and export, as JSON that is checked before anything runs. */

import { z } from "zod";
import { checked as checkedBy, formatPath, misuse } from "../tensor/index.js";
import { presets } from "./presets.js";
import { checkSettings, stageSettingsShape } from "./settings.js";
import { exportLayouts } from "./task.js";

const name = z
  .string()
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, "a name is lower-case words and numbers joined by hyphens");
const stages = z.record(z.string(), name).default({});
const config = z.record(z.string(), z.unknown()).default({});

const dataStage = z.strictObject({
  name,
  kind: z.literal("data"),
  /** What makes the rows. */
  producer: name,
  config,
  /** Stages of data that it reads, by role. */
  data: stages,
  /** Stages of training whose networks it runs, by role. */
  models: stages,
  /** Rows in a file. */
  shard: z.number().int().positive().default(512),
});

const taken = {
  /** Which of those weights; `*` stands for anything. */
  keys: z.string().default("*"),
  /** Their keys here, with one `*` for what the one in `keys` stood for. */
  as: z.string().optional(),
};

const trainStage = z
  .strictObject({
    name,
    kind: z.literal("train"),
    /** What is learnt. */
    task: name,
    config,
    /** Stages of data that it learns from, by role. */
    data: stages,
    /** Weights to begin with in place of random ones: an earlier stage's, or those of a file. */
    init: z
      .array(
        z.union([
          z.strictObject({ from: name, ...taken }),
          /** safetensors, or a torch file such as LLaVA's `mm_projector.bin`. */
          z.strictObject({ file: z.string().min(1), ...taken }),
        ]),
      )
      .default([]),
    ...stageSettingsShape,
  })
  .superRefine(checkSettings);

const exportStage = z.strictObject({
  name,
  kind: z.literal("export"),
  /** Stages of training; of what several of them have, the last one's counts. */
  from: z.array(name).min(1),
  layout: z.enum(exportLayouts),
  dtype: z.enum(["f32", "f16"]).default("f16"),
  /** For the model card. */
  title: z.string().min(1),
  description: z.string().default(""),
  license: z.string().default("apache-2.0"),
  /** Prompts that a pipeline's card shows drawings of. */
  samples: z.array(z.string()).max(64).default([]),
});

const recipeSchema = z.strictObject({
  name,
  /** For people: what it makes, and for how long. */
  description: z.string().default(""),
  stages: z.array(z.discriminatedUnion("kind", [dataStage, trainStage, exportStage])).min(1),
});

export type Recipe = z.infer<typeof recipeSchema>;
export type Stage = Recipe["stages"][number];
export type DataStage = z.infer<typeof dataStage>;
export type TrainStage = z.infer<typeof trainStage>;
export type ExportStage = z.infer<typeof exportStage>;

/**
 * Checks a value; errors name the path.
 * @param at where the value stands in the recipe
 * @throws DiffsightError RECIPE
 */
export function checked<T>(schema: z.ZodType<T>, value: unknown, at: readonly PropertyKey[] = []): T {
  return checkedBy("RECIPE", schema, value, at);
}

/**
 * Reads a recipe: its form, and that each stage names only stages before it, of the right kind.
 * @throws DiffsightError RECIPE, with a path for each thing that is wrong
 */
export function parseRecipe(text: string): Recipe {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw misuse("RECIPE", `The recipe is no JSON: ${(cause as Error).message}.`);
  }
  const recipe = checked(recipeSchema, withPresets(json));
  const known = new Map<string, Stage["kind"]>();
  const wrong: string[] = [];
  for (const [i, stage] of recipe.stages.entries()) {
    for (const { path, name, kind } of references(stage)) {
      const at = formatPath(["stages", i, ...path]);
      const fitting = [...known].filter(([, other]) => other === kind).map(([name]) => name);
      if (known.get(name) === kind) continue;
      const allowed = fitting.length > 0 ? fitting.join(", ") : "there is none";
      wrong.push(`${at}: no earlier stage of kind ${kind} is called "${name}" (${allowed})`);
    }
    if (known.has(stage.name)) wrong.push(`${formatPath(["stages", i, "name"])}: "${stage.name}" is taken`);
    known.set(stage.name, stage.kind);
  }
  if (wrong.length > 0) throw misuse("RECIPE", wrong.join("; "));
  return recipe;
}

const likeSchema = z.looseObject({
  stages: z.array(z.looseObject({ like: z.enum(Object.keys(presets)).optional() })),
});

/** Stages that are `like` a preset get its settings, as far as they do not say others. */
function withPresets(json: unknown): unknown {
  const { success } = z
    .looseObject({ stages: z.array(z.looseObject({ like: z.unknown().optional() })) })
    .safeParse(json);
  if (!success) return json;
  const { stages, ...recipe } = checked(likeSchema, json);
  return {
    ...recipe,
    stages: stages.map(({ like, ...stage }) => (like === undefined ? stage : merged(presets[like]!, stage))),
  };
}

/** Fields of both; where both have an object, it is merged too. */
function merged(base: Fields, own: Fields): Fields {
  const isObject = (value: unknown): value is Fields =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  const both = Object.entries(own).map(([name, value]) => {
    const other = base[name];
    return [name, isObject(value) && isObject(other) ? merged(other, value) : value];
  });
  return { ...base, ...Object.fromEntries(both) };
}

type Fields = Readonly<Record<string, unknown>>;

export interface Reference {
  path: PropertyKey[];
  name: string;
  kind: Stage["kind"];
}

/** The stages that a stage needs. */
export function references(stage: Stage): Reference[] {
  const roles = (field: "data" | "models", kind: Stage["kind"], names: Record<string, string>): Reference[] =>
    Object.entries(names).map(([role, name]) => ({ path: [field, role], name, kind }));
  switch (stage.kind) {
    case "data":
      return [...roles("data", "data", stage.data), ...roles("models", "train", stage.models)];
    case "train":
      return [
        ...roles("data", "data", stage.data),
        ...stage.init.flatMap((one, i): Reference[] =>
          "from" in one ? [{ path: ["init", i, "from"], name: one.from, kind: "train" }] : [],
        ),
      ];
    case "export":
      return stage.from.map((name, i): Reference => ({ path: ["from", i], name, kind: "train" }));
  }
}
