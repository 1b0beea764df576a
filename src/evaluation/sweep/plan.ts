/** @file Plans of sweeps: a base recipe, variants of it, seeds, and what judges them, as JSON that is checked before anything runs. */

import { z } from "zod";
import { checked as checkedBy, misuse } from "../../tensor/index.js";
import { defaultScenes } from "../probe/plan.js";

const name = z
  .string()
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, "a name is lower-case words and numbers joined by hyphens");
const count = z.number().int().positive();
const stage = z.looseObject({ name });

/**
 * What differs from the base, by path: "speaker.config.sight.encoders.sd.timestep". `*` in the first name stands for
 * anything: "sd*.config.timesteps" is said of every stage whose name begins so. null removes.
 */
const changes = z.record(z.string().min(1), z.unknown()).default({});

const variantSchema = z.strictObject({
  /** For tables and charts. Default: the variant's name. */
  title: z.string().min(1).optional(),
  /** Stages that it has beside those of the base. */
  stages: z.array(stage).default([]),
  set: changes,
  /** Where it stands in the plan's heat map. */
  cell: z.strictObject({ row: z.string().min(1), column: z.string().min(1) }).optional(),
  /** What a paper prints of the like, by benchmark. */
  printed: z.record(z.string(), z.number()).optional(),
});

const planSchema = z.strictObject({
  name,
  title: z.string().min(1).optional(),
  /** For people: what it asks. */
  description: z.string().default(""),
  /** The stages that all variants have; or a recipe that has them: its path, or the name of one that comes along. */
  base: z.union([z.array(stage).min(1), z.string().min(1)]),
  /** What differs from the base in all variants, before their own changes. */
  set: changes,
  variants: z
    .record(name, variantSchema)
    .refine((all) => Object.keys(all).length > 0, { message: "there is none" }),
  seeds: z.strictObject({
    /** Stages of training that begin anew with each seed; the others are shared. */
    stages: z.array(name).min(1),
    values: z.array(z.number().int().min(0)).min(1),
  }),
  /** The stage of export whose model is judged. */
  model: name,
  judge: z
    .strictObject({
      /** Pictures of the test. */
      scenes: count.default(defaultScenes.test),
      /** Pairs of each pattern. */
      twins: count.default(defaultScenes.twins),
      /** Pictures of combinations that training never shows. */
      unseen: count.default(defaultScenes.unseen),
      /** Whether questions name their two options. */
      options: z.boolean().default(true),
      /** Folder of the CLIP whose blindness counts. */
      clip: z.string().min(1).optional(),
      /** Captions that diffusion is told, rightly and wrongly, to see what of them comes back. */
      leakage: z
        .strictObject({
          pictures: z.number().int().min(2).default(100),
          /** s of the guided features. */
          guidances: z.array(z.number()).min(1).default([1, 4]),
          maxTokens: count.default(48),
        })
        .optional(),
    })
    .prefault({}),
  /** The variant that all others are held against. */
  baseline: name,
  /** More pairs to be held against each other. */
  contrasts: z.array(z.tuple([name, name])).default([]),
  /** Where the variants' printed numbers are from, and what guessing gives. */
  printed: z
    .strictObject({
      source: z.string().min(1),
      note: z.string().default(""),
      chance: z.record(z.string(), z.number()).default({}),
    })
    .optional(),
});

export type SweepPlan = z.infer<typeof planSchema>;
export type SweepVariant = z.infer<typeof variantSchema>;

/** @throws DiffsightError PLAN, with a path for each thing that is wrong */
export function parsePlan(text: string): SweepPlan {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw misuse("PLAN", `The plan is no JSON: ${(cause as Error).message}.`);
  }
  const plan = checkedBy("PLAN", planSchema, json);
  const known = Object.keys(plan.variants);
  const wrong: string[] = [];
  const named = (variant: string, path: string) => {
    if (!known.includes(variant))
      wrong.push(`${path}: no variant is called "${variant}" (${known.join(", ")})`);
  };
  named(plan.baseline, "baseline");
  for (const [i, pair] of plan.contrasts.entries()) {
    for (const [j, variant] of pair.entries()) named(variant, `contrasts[${i}][${j}]`);
  }
  const { values } = plan.seeds;
  if (new Set(values).size < values.length) wrong.push("seeds.values: a seed is there twice");
  if (wrong.length > 0) throw misuse("PLAN", wrong.join("; "));
  return plan;
}
