/** @file Layers that read their weights from a scope: the words that every network is written in. */

import type { Padding, Value } from "../graph/index.js";
import * as g from "../graph/index.js";
import type { Scope } from "../weights/index.js";

/**
 * x [..., in] -> [..., out]; `weight` [out, in], `bias` [out] if there is one. A 1x1 convolution's weight fits too, and
 * what `diffsight quantize` makes of a weight: whole numbers [out, in / block, bytes] beside their `weight_scales`.
 * @param options `bias`: whether there must be one, or none is used; default: as the checkpoint has it. `out`: how many
 * numbers must come out; default: as many as the weight gives
 * @throws DiffsightError WEIGHT_MISSING, WEIGHT_SHAPE
 */
export function linear(x: Value, w: Scope, options: { bias?: boolean; out?: number } = {}): Value {
  const out = options.out ?? w.dims("weight")?.[0];
  if (w.has("weight_scales")) return quantizedLinear(x, w, out!, options);
  const weight = w.parameter("weight", out === undefined ? out : [out, x.dims.at(-1)!]);
  return w.adapted(x, g.linear(x, weight, biasOf(w, out!, options)));
}

function biasOf(w: Scope, out: number, { bias }: { bias?: boolean }): Value | undefined {
  return bias === undefined ? w.optional("bias", [out]) : bias ? w.parameter("bias", [out]) : undefined;
}

/** Bits and blocks are told by the shapes. */
function quantizedLinear(x: Value, w: Scope, out: number, options: { bias?: boolean }): Value {
  const weight = w.packed("weight", out);
  const [, blocks, bytes] = weight.dims as [number, number, number];
  const block = x.dims.at(-1)! / blocks;
  const bits = (8 * bytes) / block === 8 ? 8 : 4;
  return g.quantizedLinear(x, weight, w.parameter("weight_scales"), biasOf(w, out, options), {
    bits,
    block,
    activations: "i8",
  });
}

/** As `linear`, its outputs in equal parts, a product each: the whole is never in memory beside its parts. */
export function linearParts(x: Value, w: Scope, parts: number): Value[] {
  const weights = g.split(w.parameter("weight"), 0, parts);
  const bias = w.optional("bias");
  const biases = bias && g.split(bias, 0, parts);
  return weights.map((weight, i) => g.linear(x, weight, biases?.[i]));
}

/** x [B, C, H, W] -> [B, C', H', W'] */
export function conv2d(
  x: Value,
  w: Scope,
  options: { stride?: number; padding?: number | Padding } = {},
): Value {
  return g.conv2d(x, w.parameter("weight"), w.optional("bias"), options);
}

export function groupNorm(x: Value, w: Scope, options: { groups: number; eps: number }): Value {
  return g.groupNorm(x, w.parameter("weight"), w.parameter("bias"), options);
}

export function layerNorm(x: Value, w: Scope, options: { eps: number }): Value {
  const shape = [x.dims.at(-1)!];
  return g.layerNorm(x, w.parameter("weight", shape), w.parameter("bias", shape), options);
}

/** x [..., C] -> [..., C] */
export function rmsNorm(x: Value, w: Scope, { eps }: { eps: number }): Value {
  return g.rmsNorm(x, w.parameter("weight", [x.dims.at(-1)!]), { eps });
}

/** ids [...] (i64) -> [..., C] */
export function embedding(ids: Value, w: Scope): Value {
  return g.gather(w.parameter("weight"), ids);
}

const activations = {
  silu: g.silu,
  swish: g.silu,
  relu: g.relu,
  gelu: (x: Value) => g.gelu(x),
  gelu_new: (x: Value) => g.gelu(x, { approximate: "tanh" }),
  gelu_pytorch_tanh: (x: Value) => g.gelu(x, { approximate: "tanh" }),
  quick_gelu: g.quickGelu,
} satisfies Record<string, (x: Value) => Value>;

export type ActivationName = keyof typeof activations;

export const activationNames = Object.keys(activations) as [ActivationName, ...ActivationName[]];

/** The activation of a config's name. */
export function activation(name: ActivationName): (x: Value) => Value {
  return activations[name];
}

/** A grid as tokens: [B, C, H, W] -> [B, H W, C] */
export function toTokens(x: Value): Value {
  const [batch, channels] = x.dims;
  return g.transpose(g.reshape(x, [batch!, channels!, -1]), [0, 2, 1]);
}

/** Tokens as a grid: [B, H W, C] -> [B, C, H, W] */
export function toGrid(tokens: Value, height: number, width: number): Value {
  const [batch, , channels] = tokens.dims;
  return g.reshape(g.transpose(tokens, [0, 2, 1]), [batch!, channels!, height, width]);
}

/** Heads apart: [B, T, heads d] -> [B, heads, T, d] */
export function splitHeads(tokens: Value, heads: number): Value {
  const [batch, length, channels] = tokens.dims;
  return g.transpose(g.reshape(tokens, [batch!, length!, heads, channels! / heads]), [0, 2, 1, 3]);
}
