/**
 * @file What a described model sees, as stores of features: which ones each of its encoders needs, and each question's
 * tokens out of them. Encoders run once a picture or a question, whatever models look through them.
 */

import type { z } from "zod";
import type { Store } from "../../data/index.js";
import { misuse, Tensor } from "../../tensor/index.js";
import type { featuresSchema } from "../../training/index.js";
import {
  type EncoderDescription,
  resolveModel,
  type StreamShape,
  type VlmDescription,
} from "../../vlm/index.js";

type Features = z.input<typeof featuresSchema>;

/** The stores of one encoder. */
export interface EncoderFeatures {
  /** A row a picture, without a text. */
  plain: Features;
  /** A row a question, told it; for encoders that hear the question. */
  question?: Features;
}

/** Grids are never folded: what a model sees when it is asked is not either. */
const unfolded = 256;

/**
 * The features that each encoder of a description gives when a question is asked.
 * @param folder where the description lies, for models named relative to it
 * @throws DiffsightError JUDGE that names what cannot be kept in stores
 */
export function featuresOf(
  { encoders }: Pick<VlmDescription, "encoders">,
  folder: string,
): Record<string, EncoderFeatures> {
  return Object.fromEntries(
    Object.entries(encoders).map(([name, encoder]) => [name, encoderFeatures(name, encoder, folder)]),
  );
}

function encoderFeatures(name: string, encoder: EncoderDescription, folder: string): EncoderFeatures {
  const only = (isSo: boolean, what: string) => {
    if (!isSo) throw misuse("JUDGE", `encoders.${name}: judging knows ${what} alone.`);
  };
  const { source, revision } = resolveModel(encoder.model, folder);
  only(revision === undefined, "a model's latest revision");
  if (encoder.kind === "text") throw misuse("JUDGE", `encoders.${name}: judging knows no text encoders.`);
  only(encoder.size === undefined, "the size that the model was trained on");
  if (encoder.kind === "vision") {
    only(encoder.tokens === "patches", "patches");
    only(typeof encoder.layer === "number", "one layer, as a number");
    return { plain: { encoder: "clip", model: source, layer: encoder.layer as number, grid: unfolded } };
  }
  const { tap, timestep, seed, ensemble } = encoder;
  only(encoder.part === "guided", 'the part "guided"');
  only(encoder.textLayers === undefined, "text in all layers");
  only(encoder.pool === undefined, "the tap's own grid");
  only(encoder.vae === "mean", "the mean of the autoencoder");
  only([timestep].flat().length === 1, "one timestep");
  const plain = {
    encoder: "diffusion",
    model: source,
    taps: [tap],
    timesteps: [timestep].flat(),
    seed,
    ensemble,
    grid: unfolded,
  } as const;
  if (questionGuidance(encoder) === 0) return { plain };
  return { plain, question: { ...plain, prompt: "question", guidance: 1 } };
}

/** s with which a question steers an encoder when it is asked; 0 where none does. */
export function questionGuidance(encoder: EncoderDescription): number {
  if (encoder.kind !== "diffusion") return 0;
  const { inference } = encoder.conditioning;
  return inference.text === "question" || inference.text === "random-question" ? inference.guidance : 0;
}

/** An encoder's opened stores. */
export interface EncoderStream {
  plain: Store;
  question?: Store;
  guidance: number;
}

const column = "features";

/** The shape of a store's tokens; as many as a square has are a grid. */
export function shapeOf({ columns }: Store): StreamShape {
  const [tokens, width] = columns[column]!.dims as [number, number];
  const side = Math.sqrt(tokens);
  return { tokens, width, grid: Number.isInteger(side) ? [side, side] : undefined };
}

/**
 * What an encoder gives of a picture, told a question: f_u + s (f_c - f_u).
 * @param row of the picture
 * @param told the row of the question among all questions
 * @returns [1, tokens, width]
 */
export function tokensAt({ plain, question, guidance }: EncoderStream, row: number, told: number): Tensor {
  const unconditional = plain.row(column, row).to("f32");
  const [tokens, width] = unconditional.dims as [number, number];
  if (!question) return unconditional.reshape([1, tokens, width]);
  const conditional = question.row(column, told).toFloat32();
  const guided = unconditional.toFloat32().map((u, i) => u + guidance * (conditional[i]! - u));
  return Tensor.f32([1, tokens, width], guided);
}
