/** @file Attention of one encoder's tokens to another's: what several fusions are built from. */

import { z } from "zod";
import { add, attention, constant, mul, reshape, type Value } from "../../graph/index.js";
import { type LayoutBuilder, linear } from "../../models/index.js";
import { misuse, Tensor } from "../../tensor/index.js";
import type { Scope } from "../../weights/index.js";
import { checkHeads, type NamedShape } from "./fusion.js";

export const headsSchema = z.number().int().min(1).default(8);

/**
 * How the keys know where they lie: `none`, what is in the features themselves; `learned`, a trained vector a place,
 * added to the keys alone; `alibi`, each head prefers what lies near the place that asks, by a slope of its own that is
 * learned: ALiBi (arXiv 2108.12409) over two grids, as CROMA (arXiv 2311.00566) joins two sensors by it.
 */
export const positionsSchema = z.enum(["none", "learned", "alibi"]).default("none");

export interface AttentionShape {
  /** Channels of the queries' tokens, and of the result. */
  queries: number;
  /** Channels of the tokens that are asked. */
  context: number;
  /** Channels of all heads together. */
  width: number;
  heads: number;
  positions?: Positions | undefined;
}

type Positions = { kind: "learned"; tokens: number } | { kind: "alibi"; distances: Tensor };

/** x [B, Q, queries], context [B, K, context] -> [B, Q, queries] */
export function attend(
  w: Scope,
  { heads, positions, width }: AttentionShape,
  x: Value,
  context: Value,
): Value {
  const q = linear(x, w.at("q_proj"));
  let k: Value = linear(context, w.at("k_proj"));
  if (positions?.kind === "learned") k = add(k, w.parameter("positions", [positions.tokens, width]));
  const v = linear(context, w.at("v_proj"));
  const near = positions?.kind === "alibi" && {
    bias: mul(
      reshape(mul(w.parameter("slopes", [heads]), constant(firstSlopes(heads))), [heads, 1, 1]),
      constant(positions.distances),
    ),
  };
  return linear(attention(q, k, v, { heads, scale: (width / heads) ** -0.5, ...near }), w.at("out_proj"));
}

export function attentionLayout(layers: LayoutBuilder, key: string, shape: AttentionShape): void {
  const { context, heads, positions, queries, width } = shape;
  layers.linear(`${key}.q_proj`, queries, width);
  layers.linear(`${key}.k_proj`, context, width);
  layers.linear(`${key}.v_proj`, context, width);
  layers.linear(`${key}.out_proj`, width, queries);
  if (positions?.kind === "learned")
    layers.add(`${key}.positions`, [positions.tokens, width], "weight", { kind: "normal", std: 0.02 });
  if (positions?.kind === "alibi")
    layers.add(`${key}.slopes`, [heads], "scale", { kind: "constant", value: 1 });
}

/** What heads begin with, a side of the picture: from a window of a thirtieth of it to nearly all. [heads] */
function firstSlopes(heads: number): Tensor {
  const values = Array.from({ length: heads }, (_, head) => -32 * 64 ** (-head / heads));
  return Tensor.f32([heads], Float32Array.from(values));
}

/** In sides of the picture, [1, 1, Q, K]. A class token, which lies nowhere, is as near to all as can be. */
function distancesOf(type: string, queries: NamedShape, context: NamedShape): Tensor {
  const [from, to] = [queries, context].map(({ grid, name, tokens }) => {
    if (!grid)
      throw misuse(
        "FUSION",
        `${type}: the tokens of "${name}" are no grid; positions "alibi" are for patches of a picture.`,
      );
    const [rows, columns] = grid;
    const patches = Array.from({ length: rows * columns }, (_, i) => ({
      y: (Math.floor(i / columns) + 0.5) / rows,
      x: ((i % columns) + 0.5) / columns,
    }));
    return [...Array.from({ length: tokens - patches.length }, () => undefined), ...patches];
  });
  const far = from!.flatMap((a) => to!.map((b) => (a && b ? Math.hypot(a.y - b.y, a.x - b.x) : 0)));
  return Tensor.f32([1, 1, queries.tokens, context.tokens], Float32Array.from(far));
}

/**
 * The sizes of an attention between two streams.
 * @throws misuse FUSION when the width does not divide into the heads, or positions need a grid that a stream has not
 */
export function attentionShape(
  type: string,
  config: { width?: number | undefined; heads: number; positions: z.output<typeof positionsSchema> },
  queries: NamedShape,
  context: NamedShape,
): AttentionShape {
  const { heads, positions: kind, width = queries.width } = config;
  checkHeads(width, heads, type);
  const shape = { queries: queries.width, context: context.width, width, heads };
  switch (kind) {
    case "none":
      return shape;
    case "learned":
      return { ...shape, positions: { kind, tokens: context.tokens } };
    case "alibi":
      return { ...shape, positions: { kind, distances: distancesOf(type, queries, context) } };
  }
}
