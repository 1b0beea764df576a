/**
 * @file What a described model sees, as stores of features: which ones each of its encoders needs, and each question's
 * tokens out of them. Encoders run once a picture or a question, whatever models look through them.
 */

import type { z } from "zod";
import type { Store } from "../../data/index.js";
import { guide } from "../../diffusion/index.js";
import type { Tensor } from "../../tensor/index.js";
import { absoluteModel, featureColumn, type featuresSchema } from "../../training/index.js";
import type { Conditioning, EncoderDescription } from "../../vlm/index.js";

type Features = z.input<typeof featuresSchema>;

/** Texts that stores of features can have been told; without any there is a row a picture. */
export type StoredText = "question" | "caption" | "pseudo-caption";

/** What an encoder gives, as a stage of data makes it. */
export function featuresOf(encoder: EncoderDescription, folder: string, prompt?: StoredText): Features {
  // Neither what it is told when nor what is done with its tokens changes them.
  const {
    conditioning: _,
    projector: __,
    ...seeing
  } = { conditioning: undefined, projector: undefined, ...encoder };
  const as = { ...seeing, model: absoluteModel(encoder.model, folder) };
  return { encoder: "described", as, ...(prompt && { prompt }) } as Features;
}

/** The text that an encoder is told in one phase, as stores can hold it; none where it is told nothing. */
export function storedText(
  encoder: EncoderDescription,
  phase: "stage1" | "stage2" | "inference",
): StoredText | "noisy-caption" | undefined {
  if (encoder.kind === "text") return "question";
  if (encoder.kind !== "diffusion") return undefined;
  const conditioning: Conditioning = encoder.conditioning[phase];
  if (conditioning.text === "none" || weightOf(encoder, conditioning) === 0) return undefined;
  return conditioning.text === "random-question" ? "question" : conditioning.text;
}

/** s of guided features; none where the told features themselves are what is seen. */
function weightOf(encoder: EncoderDescription, conditioning: Conditioning): number | undefined {
  if (encoder.kind !== "diffusion" || encoder.part !== "guided" || conditioning.text === "none")
    return undefined;
  return conditioning.guidance;
}

/** An encoder's opened stores. */
export interface EncoderStream {
  /** A row a picture, without a text. */
  plain: Store;
  /** A row a question, told it; for encoders that hear the question when one is asked. */
  question?: Store | undefined;
  /** s of guided features; none where the told features themselves are what is seen. */
  guidance: number | undefined;
}

/** Whether the question that is asked steers an encoder. */
export const hearsQuestion = (encoder: EncoderDescription): boolean =>
  storedText(encoder, "inference") === "question";

/** @param question the store of those that were told it; of no account for encoders that do not hear it */
export function streamOf(
  encoder: EncoderDescription,
  plain: Store,
  question: Store | undefined,
): EncoderStream {
  const guidance =
    encoder.kind === "diffusion" ? weightOf(encoder, encoder.conditioning.inference) : undefined;
  return { plain, question, guidance };
}

/**
 * What an encoder gives of a picture, told a question: f_u + s (f_c - f_u).
 * @param row of the picture
 * @param told the row of the question among all questions
 * @returns [1, tokens, width]
 */
export function tokensAt({ plain, question, guidance }: EncoderStream, row: number, told: number): Tensor {
  const seen = (question ?? plain).row(featureColumn, question ? told : row).to("f32");
  const dims = [1, ...seen.dims];
  if (!question || guidance === undefined) return seen.reshape(dims);
  return guide(plain.row(featureColumn, row), seen, guidance).reshape(dims);
}
