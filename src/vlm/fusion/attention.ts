/** @file Attention of one encoder's tokens to another's: what several fusions are built from. */

import { z } from "zod";
import { add, attention, type Value } from "../../graph/index.js";
import { type LayoutBuilder, linear } from "../../models/index.js";
import type { Scope } from "../../weights/index.js";
import { checkHeads } from "./fusion.js";

export const headsSchema = z.number().int().min(1).default(8);

/**
 * How the keys know where they lie: `none`, what is in the features themselves; `learned`, a trained vector a place,
 * added to the keys alone.
 */
export const positionsSchema = z.enum(["none", "learned"]).default("none");

export interface AttentionShape {
  /** Channels of the queries' tokens, and of the result. */
  queries: number;
  /** Channels of the tokens that are asked. */
  context: number;
  /** Channels of all heads together. */
  width: number;
  heads: number;
  /** How many tokens are asked, when they have learned positions. */
  positions: number | undefined;
}

/** x [B, Q, queries], context [B, K, context] -> [B, Q, queries] */
export function attend(
  w: Scope,
  { heads, positions, width }: AttentionShape,
  x: Value,
  context: Value,
): Value {
  const q = linear(x, w.at("q_proj"));
  let k: Value = linear(context, w.at("k_proj"));
  if (positions !== undefined) k = add(k, w.parameter("positions", [positions, width]));
  const v = linear(context, w.at("v_proj"));
  return linear(attention(q, k, v, { heads, scale: (width / heads) ** -0.5 }), w.at("out_proj"));
}

export function attentionLayout(layers: LayoutBuilder, key: string, shape: AttentionShape): void {
  const { context, positions, queries, width } = shape;
  layers.linear(`${key}.q_proj`, queries, width);
  layers.linear(`${key}.k_proj`, context, width);
  layers.linear(`${key}.v_proj`, context, width);
  layers.linear(`${key}.out_proj`, width, queries);
  if (positions !== undefined) {
    layers.add(`${key}.positions`, [positions, width], "weight", { kind: "normal", std: 0.02 });
  }
}

/** The sizes of an attention between two streams. @throws misuse FUSION when the width does not divide into the heads */
export function attentionShape(
  type: string,
  config: { width?: number | undefined; heads: number; positions: z.output<typeof positionsSchema> },
  queries: { width: number },
  context: { width: number; tokens: number },
): AttentionShape {
  const width = config.width ?? queries.width;
  checkHeads(width, config.heads, type);
  const positions = config.positions === "learned" ? context.tokens : undefined;
  return { queries: queries.width, context: context.width, width, heads: config.heads, positions };
}
