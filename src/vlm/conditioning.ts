/**
 * @file Which text diffusion is given with a picture, in training and when a question is asked. What is drawn depends on
 * the seed, the row and the epoch alone: never on order, batch or what was drawn before.
 */

import { z } from "zod";
import { TorchGenerator } from "../tensor/index.js";

const share = z.number().min(0).max(1);
const guidance = z.number();

/** The share of rows whose text is replaced by the empty prompt: what keeps a language model from reading it back. */
const usualDropout = 0.3;
/** The paper's s. */
const usualGuidance = 4;

const texts = [
  z.strictObject({ text: z.literal("none") }),
  ...(["caption", "question", "random-question", "pseudo-caption"] as const).map((text) =>
    z.strictObject({
      text: z.literal(text),
      dropout: share.default(usualDropout),
      guidance: guidance.default(usualGuidance),
    }),
  ),
  z.strictObject({
    text: z.literal("noisy-caption"),
    dropout: share.default(usualDropout),
    guidance: guidance.default(usualGuidance),
    /** Share of the words that are left out. */
    deleted: share.default(0.3),
  }),
] as const;

/**
 * The text of one phase. `none`: the empty prompt; `caption`: the row's own; `question`: the first of the conversation
 * (when answering: the one that is asked); `random-question`: any of its questions; `noisy-caption`: the caption without
 * some of its words; `pseudo-caption`: what a model says of the picture. With `dropout` and the s of the guided features.
 */
export const conditioningSchema = z.discriminatedUnion("text", texts);
export type Conditioning = z.output<typeof conditioningSchema>;

const at = (start: Conditioning) => conditioningSchema.default(start);
const questions = { guidance: usualGuidance } as const;

/** The leakage-safe recipe by default: no text while the projector learns, questions afterwards. */
export const conditioningPolicySchema = z
  .strictObject({
    /** While projector and fusion alone are trained. */
    stage1: at({ text: "none" }),
    /** While the language model is trained too. */
    stage2: at({ text: "random-question", dropout: usualDropout, ...questions }),
    /** When a question is asked; then nothing is dropped. */
    inference: at({ text: "question", dropout: 0, ...questions }),
  })
  .prefault({});
export type ConditioningPolicy = z.output<typeof conditioningPolicySchema>;

/** What a row of a data set has to say. */
export interface ConditioningRow {
  id: string;
  caption?: string | undefined;
  questions?: readonly string[] | undefined;
  /** Made beforehand, by whatever model. */
  pseudoCaption?: string | undefined;
}

export interface ConditioningChoice {
  /** What diffusion is given; "" for the empty prompt. */
  prompt: string;
  /** s; 0 with the empty prompt, whose guided features are the unconditional ones. */
  guidance: number;
  /** Why it is what it is: `missing` when the row has no such text. */
  reason: "none" | "text" | "dropped" | "missing";
}

export interface ConditioningDraw {
  seed: number;
  epoch: number;
}

/** The text of a row in one epoch. */
export function conditionOn(
  conditioning: Conditioning,
  row: ConditioningRow,
  { seed, epoch }: ConditioningDraw,
): ConditioningChoice {
  if (conditioning.text === "none") return { prompt: "", guidance: 0, reason: "none" };
  // Always drawn first, so that a row is dropped in the same epochs whatever its text is.
  const random = new TorchGenerator(rowSeed(seed, epoch, row.id));
  const drop = uniform(random) < conditioning.dropout;
  const text = textOf(conditioning, row, random)?.trim();
  if (!text) return { prompt: "", guidance: 0, reason: "missing" };
  if (drop) return { prompt: "", guidance: 0, reason: "dropped" };
  return { prompt: text, guidance: conditioning.guidance, reason: "text" };
}

function textOf(
  conditioning: Exclude<Conditioning, { text: "none" }>,
  { caption, pseudoCaption, questions = [] }: ConditioningRow,
  random: TorchGenerator,
): string | undefined {
  switch (conditioning.text) {
    case "caption":
      return caption;
    case "question":
      return questions[0];
    case "random-question":
      return questions[Math.floor(uniform(random) * questions.length)];
    case "pseudo-caption":
      return pseudoCaption;
    case "noisy-caption":
      return caption && withoutWords(caption, conditioning.deleted, random);
  }
}

/** A text without a share of its words, the others in their order; one is always left. */
function withoutWords(text: string, share: number, random: TorchGenerator): string {
  const words = text.split(/\s+/).filter((word) => word !== "");
  const left = Math.max(1, words.length - Math.round(share * words.length));
  const ranks = words.map(() => uniform(random));
  const kept = new Set(
    words
      .map((_, i) => i)
      .sort((a, b) => ranks[a]! - ranks[b]! || a - b)
      .slice(0, left),
  );
  return words.filter((_, i) => kept.has(i)).join(" ");
}

/** From 0, below 1. */
function uniform(random: TorchGenerator): number {
  return random.rand([1]).toFloat32()[0]!;
}

/** A seed of 32 bits for a row in an epoch (FNV-1a over its name's UTF-16 codes, mixed as Murmur hash ends). */
function rowSeed(seed: number, epoch: number, id: string): number {
  let hash = 0x811c9dc5;
  for (const part of [`${seed}`, `${epoch}`, id]) {
    for (let i = 0; i < part.length; i++) hash = Math.imul(hash ^ part.charCodeAt(i), 0x01000193);
    hash = Math.imul(hash ^ 0xff, 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
