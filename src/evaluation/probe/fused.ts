/**
 * @file Several ways of seeing joined in front of one head: a fusion is trained with the head, as it would be with a
 * language model, at a small part of the cost.
 */

import { z } from "zod";
import { type FusionProgram, fusionSchema, planFusion, type StreamShape } from "../../vlm/index.js";

const size = z.number().int().positive();

export const fusedSchema = z.strictObject({
  /** Tokens and channels of each way of seeing that the fusion takes, by its name. */
  streams: z.record(z.string(), z.strictObject({ tokens: size, channels: size })),
  /** As in diffsight.json; encoders are ways of seeing. */
  fusion: fusionSchema,
  /**
   * Whether features are as encoders give them, as a language model's fusion gets them. Default: every channel is brought
   * to mean 0 and deviation 1 first.
   */
  raw: z.boolean().optional(),
});

export type FusedConfig = z.infer<typeof fusedSchema>;

/** As many tokens as a square has are taken for the patches of a picture. */
function shapeOf({ tokens, channels }: FusedConfig["streams"][string]): StreamShape {
  const side = Math.sqrt(tokens);
  return { tokens, width: channels, grid: Number.isInteger(side) ? [side, side] : undefined };
}

/**
 * A fusion of ways of seeing. Its parameters are named `fusion.*`.
 * @throws misuse FUSION when they do not fit
 */
export function fusedProgram({ streams, fusion }: FusedConfig): FusionProgram {
  const shapes = Object.entries(streams).map(([name, stream]) => [name, shapeOf(stream)] as const);
  return planFusion(fusion, Object.fromEntries(shapes));
}
