/** @file Recipes: stages of data, training and export, as JSON that is checked before anything runs. */

import { z } from "zod";
import { checked as checkedBy, formatPath, misuse } from "../tensor/index.js";
import { checkSettings, settingsShape } from "./settings.js";

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

const trainStage = z
  .strictObject({
    name,
    kind: z.literal("train"),
    /** What is learnt. */
    task: name,
    config,
    /** Stages of data that it learns from, by role. */
    data: stages,
    /** Weights to begin with in place of random ones. */
    init: z
      .array(
        z.strictObject({
          from: name,
          /** Which of that stage's weights; `*` stands for anything. */
          keys: z.string().default("*"),
          /** Their keys here, with one `*` for what the one in `keys` stood for. */
          as: z.string().optional(),
        }),
      )
      .default([]),
    ...settingsShape,
  })
  .superRefine(checkSettings);

const exportStage = z.strictObject({
  name,
  kind: z.literal("export"),
  /** Stages of training; of what several of them have, the last one's counts. */
  from: z.array(name).min(1),
  /** pipeline: a folder a component and model_index.json; model: all in one folder, as transformers has it. */
  layout: z.enum(["pipeline", "model"]),
  dtype: z.enum(["f32", "f16"]).default("f16"),
  /** For the model card. */
  title: z.string().min(1),
  description: z.string().default(""),
  license: z.string().default("apache-2.0"),
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
  const recipe = checked(recipeSchema, json);
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
        ...stage.init.map(
          ({ from }, i): Reference => ({ path: ["init", i, "from"], name: from, kind: "train" }),
        ),
      ];
    case "export":
      return stage.from.map((name, i): Reference => ({ path: ["from", i], name, kind: "train" }));
  }
}
