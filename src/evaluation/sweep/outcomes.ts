/**
 * @file What came of a sweep's runs, each in a small file of its own: with it a run is done, whatever becomes of its
 * weights, and files of other machines count as if they had been made here.
 */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { canonicalJson, contentKey, hashBytes } from "../../data/index.js";
import { failure } from "../../tensor/index.js";
import { builtIn, modelFolder, type PlannedStage, parseRecipe, planStages } from "../../training/index.js";
import { writeFileAtomic } from "../../weights/index.js";
import { judgedStages, type SpokenAnswer } from "../answers/judge.js";
import { producer as answers } from "../answers/producer.js";
import { toldKinds } from "../leakage/measure.js";
import { producer as toldCaptions } from "../leakage/producer.js";
import { type Judged, judged } from "../probe/plan.js";
import { judgeOptions, type OpenPlan, type SweepRun } from "./expand.js";
import type { KeptLeakage } from "./told.js";

/** What a page needs of an answer. */
export type KeptAnswer = Omit<SpokenAnswer, "probability">;

/** What a page needs of a judgement. */
export interface KeptJudgement {
  answers: Record<Judged, readonly KeptAnswer[]>;
  /** Pairs below this number are the first ones of each pattern, others were chosen for being blind. */
  firstTwins: number;
  /** Pairs of twins by their number. */
  blind: readonly { pair: number; blind: boolean }[];
  leakage?: KeptLeakage;
}

/** What came of one variant with one seed. */
export interface SweepOutcome {
  variant: string;
  seed: number;
  /** Folder of the model; there unless the outcome was made elsewhere. */
  model: string;
  /** Of the seeded training. */
  training: { loss: number; validation?: number; seconds: number };
  judgement: KeptJudgement;
}

const count = z.number().int().min(0);

/** What was asked, in columns: the same in all outcomes that are judged alike. */
const questionsSchema = z.strictObject({
  format: z.literal("diffsight-questions-1"),
  sets: z.record(
    z.enum(judged),
    z.strictObject({
      patterns: z.array(z.string()),
      /** The number of each question's pattern. */
      pattern: z.array(count),
      /** The picture's row. */
      row: z.array(count),
      /** The pair of twins; null for no pair. */
      pair: z.array(count.nullable()),
      /** What of the picture was never shown in training, by the question's number. */
      unseen: z.record(z.string(), z.array(z.string())),
    }),
  ),
  firstTwins: count,
  blind: z.array(count),
});

type Questions = z.infer<typeof questionsSchema>;

const outcomeSchema = z.strictObject({
  format: z.literal("diffsight-outcome-1"),
  /** Of all that the outcome depends on. */
  key: z.string(),
  plan: z.string(),
  variant: z.string(),
  seed: count,
  training: z.strictObject({
    loss: z.number(),
    validation: z.number().optional(),
    seconds: z.number(),
  }),
  /** The file beside this one that has what was asked. */
  questions: z.string().regex(/^questions-[0-9a-f]{12}\.json$/),
  /**
   * A letter a question: what the model says by itself, r for the right option, w for the wrong one, o for neither; in
   * upper case where the right option is the likelier one.
   */
  answers: z.record(z.enum(judged), z.string().regex(/^[rwo]*$/i)),
  leakage: z
    .strictObject({
      outcomes: z.array(
        z.strictObject({ told: z.enum(toldKinds), guidance: z.number(), layers: z.string() }),
      ),
      /** A number a picture, by condition: told nothing first, then the outcomes. */
      each: z.array(z.strictObject({ cider: z.array(z.number()), otherCider: z.array(z.number()) })),
    })
    .optional(),
});

/** Where the outcomes of a sweep lie. */
export function outcomesFolder(out: string, { tuning }: { tuning: boolean }): string {
  return join(out, tuning ? "outcomes-tuning" : "outcomes");
}

/**
 * The stages that make a run's model, the last of which it is, and those of what judges it, without its answers.
 * @throws DiffsightError RECIPE, JUDGE
 */
export async function plannedStages(
  { recipe, description }: SweepRun,
  opened: OpenPlan,
  { out, tuning }: { out: string; tuning: boolean },
): Promise<Record<"training" | "judging", PlannedStage[]>> {
  const stages = await judgedStages(description, opened.folder, judgeOptions(opened, tuning));
  const judging = parseRecipe(JSON.stringify({ name: "judging", stages }));
  return {
    training: await planStages(recipe, out, builtIn),
    judging: await planStages(judging, out, builtIn),
  };
}

/** The address of what comes of a run: of its model's, and of all that judges it. */
async function outcomeKey(
  run: SweepRun,
  opened: OpenPlan,
  place: { out: string; tuning: boolean },
): Promise<string> {
  const options = judgeOptions(opened, place.tuning);
  const { training, judging } = await plannedStages(run, opened, place);
  return contentKey({
    model: training.at(-1)!.key,
    judging: judging.map(({ key }) => key),
    answers: answers.version,
    options: options.options,
    ...(options.leakage && { leakage: options.leakage, toldCaptions: toldCaptions.version }),
  });
}

function keptLeakage({ outcomes, each }: KeptLeakage) {
  return {
    outcomes: outcomes.map(({ told, guidance, layers }) => ({ told, guidance, layers })),
    each: each.map(({ cider, otherCider }) => ({ cider: [...cider], otherCider: [...otherCider] })),
  };
}

/** A run's file. */
const fileOf = ({ variant, seed }: Pick<SweepOutcome, "variant" | "seed">) => `${variant}-${seed}.json`;

/** @throws failure FILE_ACCESS when the disk is full */
export async function writeOutcome(
  folder: string,
  { judgement, ...outcome }: Omit<SweepOutcome, "model"> & { plan: string; key: string },
): Promise<void> {
  const asked = canonicalJson(questionsOf(judgement));
  const questions = `questions-${hashBytes(asked).slice(0, 12)}.json`;
  const file: z.infer<typeof outcomeSchema> = {
    format: "diffsight-outcome-1",
    ...outcome,
    questions,
    answers: bySet((set) => judgement.answers[set].map(letterOf).join("")),
    ...(judgement.leakage && { leakage: keptLeakage(judgement.leakage) }),
  };
  if (!existsSync(join(folder, questions))) await writeFileAtomic(join(folder, questions), `${asked}\n`);
  await writeFileAtomic(join(folder, fileOf(outcome)), `${JSON.stringify(file)}\n`);
}

/** A run's place among the outcomes. */
export interface FoundOutcome {
  /** The address that its outcome has. */
  key: string;
  /** Where its file is there and was made as it would be made now. */
  outcome?: SweepOutcome;
  /** The file that tells of other settings, where one is there. */
  other?: string;
}

/**
 * Looks for what came of a run.
 * @param place.out the sweep's folder
 * @throws DiffsightError OUTCOME_CORRUPT, FILE_MISSING when the questions do not lie beside it; RECIPE, JUDGE
 */
export async function findOutcome(
  run: SweepRun,
  opened: OpenPlan,
  { out, tuning }: { out: string; tuning: boolean },
): Promise<FoundOutcome> {
  const { variant, seed } = run;
  const key = await outcomeKey(run, opened, { out, tuning });
  const folder = outcomesFolder(out, { tuning });
  const path = join(folder, fileOf(run));
  if (!existsSync(path)) return { key };
  const kept = await parsed(path, outcomeSchema);
  if (kept.key !== key) return { key, other: path };
  const { training, answers, leakage } = kept;
  const beside = join(folder, kept.questions);
  if (!existsSync(beside))
    throw failure("FILE_MISSING", `${beside} is missing: what ${path} answers. Copy both together.`);
  const asked = await parsed(beside, questionsSchema);
  for (const set of judged) {
    const [given, wanted] = [answers[set].length, asked.sets[set].pattern.length];
    if (given === wanted) continue;
    throw failure(
      "OUTCOME_CORRUPT",
      `${path} has ${given} answers of "${set}" where ${beside} asks ${wanted}. Remove it to make it again.`,
    );
  }
  const outcome = {
    variant,
    seed,
    model: resolve(modelFolder(out, `${variant}-${seed}`)),
    training: {
      loss: training.loss,
      seconds: training.seconds,
      ...(training.validation !== undefined && { validation: training.validation }),
    },
    judgement: {
      answers: bySet((set) => answersOf(asked.sets[set], answers[set])),
      firstTwins: asked.firstTwins,
      blind: asked.blind.map((pair) => ({ pair, blind: true })),
      ...(leakage && { leakage }),
    },
  };
  return { key, outcome };
}

async function parsed<T>(path: string, schema: z.ZodType<T>): Promise<T> {
  const text = await readFile(path, "utf8");
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw failure("OUTCOME_CORRUPT", `${path} is damaged. Remove it to make it again.`, cause);
  }
}

const bySet = <T>(of: (set: Judged) => T) =>
  Object.fromEntries(judged.map((set) => [set, of(set)])) as Record<Judged, T>;

function questionsOf({ answers, firstTwins, blind }: KeptJudgement): Questions {
  return {
    format: "diffsight-questions-1",
    sets: bySet((set) => {
      const list = answers[set];
      const patterns = [...new Set(list.map(({ pattern }) => pattern))];
      return {
        patterns,
        pattern: list.map(({ pattern }) => patterns.indexOf(pattern)),
        row: list.map(({ row }) => row),
        pair: list.map(({ pair }) => pair ?? null),
        unseen: Object.fromEntries(
          list.flatMap(({ unseen }, i) => (unseen ? [[String(i), [...unseen]]] : [])),
        ),
      };
    }),
    firstTwins,
    blind: blind.filter((one) => one.blind).map(({ pair }) => pair),
  };
}

function answersOf({ patterns, pattern, row, pair, unseen }: Questions["sets"][Judged], letters: string) {
  return pattern.map((number, i): KeptAnswer => {
    const letter = letters[i]!;
    const own = unseen[String(i)];
    return {
      row: row[i]!,
      pattern: patterns[number]!,
      ...(pair[i] !== null && { pair: pair[i]! }),
      ...(own && { unseen: own }),
      right: letter < "a",
      said: saidBy[letter.toLowerCase() as keyof typeof saidBy],
    };
  });
}

const saidBy = { r: "right", w: "wrong", o: "other" } as const;

function letterOf({ right, said }: KeptAnswer): string {
  const letter = said[0]!;
  return right ? letter.toUpperCase() : letter;
}
