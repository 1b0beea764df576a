/**
 * @file What a vision-language model says of pictures when diffusion is told the truth, nothing, or another picture's
 * caption; and how likely it takes those captions to be.
 */

import { Ledger } from "../../data/index.js";
import type { CallOptions } from "../../engine/index.js";
import { misuse } from "../../tensor/index.js";
import { imageMark } from "../../text/index.js";
import type { Asked, VisionLanguageModel } from "../../vlm/index.js";
import type { ToldPicture } from "./pictures.js";

/** What diffusion is told: nothing, the picture's caption, another picture's. */
export const toldKinds = ["none", "truth", "mismatched"] as const;
export type ToldKind = (typeof toldKinds)[number];

/** One way of telling. */
export interface Condition {
  told: ToldKind;
  /** s of the guided features. */
  guidance: number;
  /** Name of the cross-attentions that hear the text; "" where nothing is told. */
  layers: string;
}

/** What a model makes of one picture under one condition. */
export interface Said extends Condition {
  text: string;
  /** Mean natural logarithm of the probability of each token, of the picture's caption and of the other one. */
  likelihood: Record<Exclude<ToldKind, "none">, number>;
}

/** What a model makes of every picture: all conditions, in one order. */
export type PictureRecords = Said[][];

export interface LeakageRequest extends CallOptions {
  pictures: readonly ToldPicture[];
  guidances: readonly number[];
  /** Names of groups of cross-attentions, and what they hold; all for undefined. */
  layers: Readonly<Record<string, readonly string[] | undefined>>;
  /** What is asked. Default: nothing, the picture alone, as LLaVA's first stage shows it. */
  question?: string | undefined;
  maxTokens: number;
  /** Where what is done is written down: another call goes on from there. It must be of this request and model. */
  ledger?: string | undefined;
  onProgress?: (done: number, total: number) => void;
}

interface Entry {
  picture: number;
  said: Said[];
}

const nothingTold: Condition = { told: "none", guidance: 0, layers: "" };

/** Pictures whose features the encoders remember while guidance and layers change. */
const picturesTogether = 16;
/** Conditions that are answered side by side: as many as a model keeps readings of. */
const conditionsTogether = 4;

/**
 * Lets a model speak of every picture under every condition, and says how likely it takes both captions to be. What does
 * not depend on the text is computed once a picture; what is told but not heard (s = 0) is not computed again.
 * @throws misuse LEAKAGE for a model without a diffusion encoder; what asking raises
 */
export async function measureLeakage(
  model: VisionLanguageModel,
  request: LeakageRequest,
): Promise<PictureRecords> {
  if (model.told("").length === 0) {
    throw misuse(
      "LEAKAGE",
      `${model.source} has no diffusion encoder: nothing is told a text that could leak.`,
    );
  }
  const { pictures, guidances, layers, ledger, onProgress = () => {} } = request;
  const told = toldKinds.filter((kind) => kind !== "none");
  const groups: Condition[][] = [
    [nothingTold],
    ...Object.keys(layers).map((name) =>
      told.flatMap((kind) => guidances.map((guidance) => ({ told: kind, guidance, layers: name }))),
    ),
  ];
  const done = ledger === undefined ? undefined : Ledger.open<Entry>(ledger);
  const records: Map<string, Said>[] = pictures.map(() => new Map());
  for (const { picture, said } of done?.entries ?? [])
    for (const one of said) records[picture]?.set(nameOf(one), one);

  const total = groups.flat().length * pictures.length;
  const count = () =>
    onProgress(
      records.reduce((sum, { size }) => sum + size, 0),
      total,
    );
  try {
    for (let from = 0, to = 0; from < pictures.length; from = to) {
      // The first alone: layers that do not exist are found out at once.
      to = from === 0 ? 1 : Math.min(pictures.length, from + picturesTogether);
      // Groups before pictures: a U-Net whose layers hear other texts is written anew.
      for (const conditions of groups) {
        for (let i = from; i < to; i++) {
          if (conditions.every((one) => records[i]!.has(nameOf(one)))) continue;
          const said = await speak(model, pictures[i]!, conditions, [...records[i]!.values()], request);
          for (const one of said) records[i]!.set(nameOf(one), one);
          done?.append({ picture: i, said });
          count();
        }
      }
    }
  } finally {
    done?.close();
  }
  return records.map((said) => groups.flat().map((condition) => said.get(nameOf(condition))!));
}

const nameOf = ({ told, guidance, layers }: Condition) => `${told}/${guidance}/${layers}`;

/** One picture under several conditions; those that are seen as a known one are not answered again. */
async function speak(
  model: VisionLanguageModel,
  picture: ToldPicture,
  conditions: readonly Condition[],
  before: readonly Said[],
  request: LeakageRequest,
): Promise<Said[]> {
  const asked = (condition: Condition) => ask(picture, condition, request);
  const seen = (condition: Condition) => {
    const { diffusion } = asked(condition);
    return model.steered({ question: request.question ?? "", diffusion });
  };
  const known = new Map(before.map((one) => [seen(one), one]));
  const open = [...new Map(conditions.map((one) => [seen(one), one])).entries()].filter(
    ([key]) => !known.has(key),
  );
  const { maxTokens, signal } = request;
  for (let at = 0; at < open.length; at += conditionsTogether) {
    const some = open.slice(at, at + conditionsTogether);
    const questions = some.map(([, condition]) => asked(condition));
    const answers = await model.answerBatch(questions, { maxTokens, signal });
    const scores = await model.score(
      questions.flatMap((one) => [picture.caption, picture.mismatched].map((answer) => ({ ...one, answer }))),
      { signal },
    );
    const means = scores.map(({ logProbability, tokens }) => logProbability / tokens);
    for (const [i, [key, condition]] of some.entries()) {
      const likelihood = { truth: means[2 * i]!, mismatched: means[2 * i + 1]! };
      known.set(key, { ...condition, text: answers[i]!.text.trim(), likelihood });
    }
  }
  return conditions.map((condition) => ({ ...known.get(seen(condition))!, ...condition }));
}

function ask(
  { image, caption, mismatched }: ToldPicture,
  { told, guidance, layers }: Condition,
  request: LeakageRequest,
): Asked {
  const text = request.question === undefined ? imageMark : `${imageMark}\n${request.question}`;
  const turns = [{ role: "user" as const, text }];
  if (told === "none") return { turns, images: [image], diffusion: { prompt: "" } };
  const prompt = told === "truth" ? caption : mismatched;
  const textLayers = request.layers[layers];
  return { turns, images: [image], diffusion: { prompt, guidance, textLayers } };
}
