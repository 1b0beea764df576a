/** @file The U-Net's transformer (diffusers `Transformer2DModel` and `BasicTransformerBlock`), with its attention taps. */

import { add, attention, gelu, matmul, mul, softmax, transpose, type Value } from "../../graph/index.js";
import type { Scope } from "../../weights/index.js";
import {
  conv2d,
  groupNorm,
  layerNorm,
  linear,
  linearParts,
  splitHeads,
  toGrid,
  toTokens,
} from "../layers.js";

export interface TransformerOptions {
  heads: number;
  layers: number;
  groups: number;
  linearProjection: boolean;
  onlyCrossAttention: boolean;
}

/** x [B, C, H, W], text [B, T, D] of each block by its path -> [B, C, H, W] */
export function transformer2d(
  w: Scope,
  x: Value,
  textAt: (path: string) => Value,
  options: TransformerOptions,
): Value {
  const { groups, linearProjection, layers } = options;
  const [, , height, width] = x.dims;
  let h = groupNorm(x, w.at("norm"), { groups, eps: 1e-6 }); // 1e-6 here, whatever norm_eps says
  h = linearProjection ? linear(toTokens(h), w.at("proj_in")) : toTokens(conv2d(h, w.at("proj_in")));

  for (let i = 0; i < layers; i++) {
    const block = w.at("transformer_blocks", i);
    h = transformerBlock(block, h, textAt(block.path), { ...options, height: height!, width: width! });
  }

  h = linearProjection
    ? toGrid(linear(h, w.at("proj_out")), height!, width!)
    : conv2d(toGrid(h, height!, width!), w.at("proj_out"));
  return w.tap("vit-out", add(h, x));
}

interface BlockOptions extends TransformerOptions {
  height: number;
  width: number;
}

/** tokens [B, H W, C] -> [B, H W, C]: self-attention, cross-attention, feed-forward, each with its residual. */
function transformerBlock(w: Scope, x: Value, text: Value, options: BlockOptions): Value {
  const { heads, height, width, onlyCrossAttention } = options;
  const grid = (tokens: Value) => toGrid(tokens, height, width);
  const norm = { eps: 1e-5 };

  // 1. Self-attention
  let h = layerNorm(x, w.at("norm1"), norm);
  x = add(x, attend(w, "self", w.at("attn1"), h, onlyCrossAttention ? text : h, heads, grid));

  // 2. Cross-attention: the picture asks, the text answers
  h = layerNorm(x, w.at("norm2"), norm);
  x = add(x, attend(w, "cross", w.at("attn2"), h, text, heads, grid));

  // 3. Feed-forward with a gate (GEGLU)
  h = layerNorm(x, w.at("norm3"), norm);
  const [value, gate] = linearParts(h, w.at("ff", "net", 0, "proj"), 2);
  h = w.tap("ffn-inner", mul(value!, gelu(gate!)), grid);
  return w.tap("out", add(x, linear(h, w.at("ff", "net", 2))), grid);
}

/** Attention of `x` over `context`, and its taps under `kind`. */
function attend(
  block: Scope,
  kind: "self" | "cross",
  w: Scope,
  x: Value,
  context: Value,
  heads: number,
  grid: (tokens: Value) => Value,
): Value {
  // Keys and values over the grid are pictures too; those over the text are tokens x channels.
  const view = x === context ? grid : (tokens: Value) => tokens;
  const q = block.tap(`${kind}-q`, linear(x, w.at("to_q")), grid);
  const k = block.tap(`${kind}-k`, linear(context, w.at("to_k")), view);
  const v = block.tap(`${kind}-v`, linear(context, w.at("to_v")), view);
  const scale = (q.dims[2]! / heads) ** -0.5;

  // Scores [B, heads, queries, keys] are only computed when someone asks for them.
  const scores = mul(matmul(splitHeads(q, heads), transpose(splitHeads(k, heads), [0, 1, 3, 2])), scale);
  block.tap(`${kind}-score`, scores);
  block.tap(`${kind}-map`, softmax(scores));

  return linear(attention(q, k, v, { heads, scale }), w.at("to_out", 0));
}
