/**
 * @file A model judged by the embedded world's questions: scenes, twins and unseen combinations, what its encoders make
 * of them, and its answers. All of it are stores under their content's address: encoders that several models share run
 * once, and a model that was judged is not judged again.
 */

import { Store } from "../../data/index.js";
import { type Recipe, type RunOptions, runRecipe } from "../../training/index.js";
import type { VlmDescription } from "../../vlm/index.js";
import { readDescription } from "../../vlm/index.js";
import { openModel } from "../../weights/index.js";
import { moreBlind } from "../blind.js";
import { findLeakage, type LeakageFindings } from "../leakage/findings.js";
import { readTold, type ToldCaptionsConfig, toldScenes } from "../leakage/producer.js";
import {
  blindStages,
  type Judged,
  type JudgedTwins,
  judged,
  judgedTwins,
  type ProbeScenes,
  recipeOf,
  sceneStages,
} from "../probe/plan.js";
import type { Answer } from "../probe/probe.js";
import { evaluationRegistry } from "../registry.js";
import { answeredSchema, neither } from "./producer.js";
import { featuresOf, hearsQuestion } from "./streams.js";

/** An answer by both ways of asking: `right` is which option is likelier. */
export interface SpokenAnswer extends Answer {
  /** Whether the greedy answer is the right option, the wrong one, or another text. */
  said: "right" | "wrong" | "other";
}

export interface JudgeOptions {
  /** How many pictures there are of each kind. */
  scenes: Pick<ProbeScenes, Judged>;
  /** Judges by validation scenes and twins in place of the frozen test: for whoever still chooses. */
  tuning: boolean;
  /** Folder of the CLIP whose blindness counts. */
  clip?: string | undefined;
  /** Whether questions name their two options. */
  options: boolean;
  /** Tells diffusion captions as well, to see what of them comes back. */
  leakage?: Pick<ToldCaptionsConfig, "pictures" | "guidances" | "maxTokens"> | undefined;
}

/** What a model answered. */
export interface Judgement extends JudgedTwins {
  answers: Record<Judged, SpokenAnswer[]>;
  /** Where it was asked for, of a model with a diffusion encoder. */
  leakage?: LeakageFindings;
}

/**
 * Stages of everything that answers are made from.
 * @param folder where the description lies
 */
export async function judgedStages(
  description: Pick<VlmDescription, "encoders">,
  folder: string,
  { scenes, tuning, clip }: JudgeOptions,
): Promise<object[]> {
  const blind = await moreBlind(clip, scenes.twins, tuning);
  const pictures = sceneStages({ scenes, tuning, ...(blind && { blind }) }).filter(({ name }) =>
    judged.some((set) => name === `scenes-${set}`),
  );
  const features = (name: string, set: Judged, config: object) => ({
    name,
    kind: "data",
    producer: "features",
    config,
    data: { pictures: `scenes-${set}` },
  });
  const seen = Object.entries(description.encoders).flatMap(([name, encoder]) =>
    judged.flatMap((set) => [
      features(`${name}-${set}`, set, featuresOf(encoder, folder)),
      ...(hearsQuestion(encoder)
        ? [features(`${name}-question-${set}`, set, featuresOf(encoder, folder, "question"))]
        : []),
    ]),
  );
  return [...pictures, ...seen, ...blindStages(clip)];
}

function answerStages(
  description: Pick<VlmDescription, "encoders">,
  model: string,
  { options }: JudgeOptions,
): object[] {
  return judged.map((set) => ({
    name: `answers-${set}`,
    kind: "data",
    producer: "answers",
    config: { model, options },
    data: {
      pictures: `scenes-${set}`,
      ...Object.fromEntries(
        Object.entries(description.encoders).flatMap(([name, encoder]) => [
          [name, `${name}-${set}`],
          ...(hearsQuestion(encoder) ? [[`${name}-question`, `${name}-question-${set}`]] : []),
        ]),
      ),
    },
  }));
}

const toldStage = "told-captions";

const splitOf = ({ tuning }: Pick<JudgeOptions, "tuning">) => (tuning ? "validation" : "test");

/** None of a model that nothing can be told. */
function leakageStages(
  { encoders }: Pick<VlmDescription, "encoders">,
  model: string,
  { leakage, tuning }: JudgeOptions,
): object[] {
  if (!leakage || !Object.values(encoders).some(({ kind }) => kind === "diffusion")) return [];
  const config: ToldCaptionsConfig = { model, split: splitOf({ tuning }), ...leakage };
  // Few rows in a shard: each takes seconds, and threads share them shard by shard.
  return [{ name: toldStage, kind: "data", producer: "told-captions", config, shard: 4 }];
}

/** The recipe that judges a folder's model. */
export async function judgingRecipe(model: string, options: JudgeOptions): Promise<Recipe> {
  const description = await readDescription(await openModel(model));
  return recipeOf([
    ...(await judgedStages(description, model, options)),
    ...answerStages(description, model, options),
    ...leakageStages(description, model, options),
  ]);
}

/**
 * Judges a folder's model; what an earlier call has done in the same folder is left as it is.
 * @param model a folder with diffsight.json
 * @throws DiffsightError what recipes and their stages throw
 */
export async function judge(model: string, options: JudgeOptions, run: RunOptions): Promise<Judgement> {
  const recipe = await judgingRecipe(model, options);
  const made = await runRecipe(recipe, { ...run, registry: evaluationRegistry });
  const folders = new Map(made.map(({ name, folder }) => [name, folder]));
  const answers = Object.fromEntries(
    judged.map((set) => {
      using store = Store.open(folders.get(`answers-${set}`)!);
      return [set, readAnswers(store)];
    }),
  ) as Record<Judged, SpokenAnswer[]>;
  const told = folders.get(toldStage);
  return {
    answers,
    ...judgedTwins(options.scenes.twins, options.tuning, folders),
    ...(told !== undefined && { leakage: await leakageOf(told, model, options) }),
  };
}

async function leakageOf(folder: string, model: string, options: JudgeOptions): Promise<LeakageFindings> {
  using store = Store.open(folder);
  const scenes = await toldScenes({ pictures: store.rows, split: splitOf(options) });
  return findLeakage(model, readTold(store), scenes, { world: true });
}

/** All answers of a store that the producer `answers` has made. */
export function readAnswers(store: Store): SpokenAnswer[] {
  const rows = Array.from({ length: store.rows }, (_, row) => row);
  const likely = store.gather("logProbabilities", rows).toFloat32();
  const said = store.gather("said", rows).data as Uint8Array;
  return rows.map((i) => {
    const { answer, row, pattern, pair, unseen } = answeredSchema.parse(store.line(i));
    const margin = likely[2 * i + answer]! - likely[2 * i + 1 - answer]!;
    return {
      row,
      pattern,
      ...(pair !== undefined && { pair }),
      ...(unseen && { unseen }),
      // Equal likelihoods are no answer.
      right: margin > 0,
      probability: 1 / (1 + Math.exp(-margin)),
      said: said[i] === neither ? "other" : said[i] === answer ? "right" : "wrong",
    };
  });
}
