/** @file Gradients of products: matrices, linear layers, convolutions, attention. */

import { matmul, mul, reshape, sub, sum, transpose } from "../ops.js";
import type { Value } from "../value.js";
import { attentionWeights, conv2dInputGradient, conv2dWeightGradient } from "./operations.js";
import { type GradientRules, once, onlyOnce, unbroadcast } from "./rule.js";

/** As rows: [..., n] -> [rows, n] */
const rows = (x: Value) => reshape(x, [-1, x.dims.at(-1)!]);

/** Heads apart: [B, T, heads d] -> [B, heads, T, d] */
function apart(x: Value, heads: number): Value {
  const [batch, length, channels] = x.dims;
  return transpose(reshape(x, [batch!, length!, heads, channels! / heads]), [0, 2, 1, 3]);
}

/** Heads side by side: [B, heads, T, d] -> [B, T, heads d] */
function joined(x: Value): Value {
  const [batch, , length] = x.dims;
  return reshape(transpose(x, [0, 2, 1, 3]), [batch!, length!, -1]);
}

export const products = {
  matmul: (value, dy) => {
    const [a, b] = value.inputs as [Value, Value];
    const { transposeA, transposeB } = value.attributes;
    return [
      () =>
        unbroadcast(
          transposeA
            ? matmul(b, dy, { transposeA: transposeB, transposeB: true })
            : matmul(dy, b, { transposeB: !transposeB }),
          a.dims,
        ),
      () =>
        unbroadcast(
          transposeB
            ? matmul(dy, a, { transposeA: true, transposeB: transposeA })
            : matmul(a, dy, { transposeA: !transposeA }),
          b.dims,
        ),
    ];
  },

  linear: (value, dy) => {
    const [x, weight, bias] = value.inputs as [Value, Value, Value?];
    return [
      () => reshape(matmul(rows(dy), weight), x.dims),
      () => matmul(rows(dy), rows(x), { transposeA: true }),
      bias && (() => unbroadcast(rows(dy), bias.dims)),
    ];
  },

  conv2d: (value, dy) => {
    const [x, weight, bias] = value.inputs as [Value, Value, Value?];
    return [
      () => conv2dInputGradient(dy, weight, x.dims, value.attributes),
      () => conv2dWeightGradient(x, dy, weight.dims, value.attributes),
      bias && (() => reshape(sum(dy, 0, 2, 3), bias.dims)),
    ];
  },
  conv2dInputGradient: onlyOnce,
  conv2dWeightGradient: onlyOnce,

  // With P = softmax(scale q kᵀ + bias): dP = dy vᵀ, dS = P (dP - Σ P dP), and Σ P dP over the keys is Σ y dy over a head
  attention: (value, dy) => {
    const [q, k, v, bias] = value.inputs as [Value, Value, Value, Value?];
    const { heads, scale } = value.attributes;
    const weights = once(() => attentionWeights(value));
    const perHead = once(() => apart(dy, heads));
    const scores = once(() => {
      const [batch, queries, channels] = value.dims as [number, number, number];
      const products = reshape(mul(value, dy), [batch, queries, heads, channels / heads]);
      const along = transpose(sum(products, -1), [0, 2, 1, 3]);
      return mul(weights(), sub(matmul(perHead(), apart(v, heads), { transposeB: true }), along));
    });
    return [
      () => joined(mul(matmul(scores(), apart(k, heads)), scale)),
      () => joined(mul(matmul(scores(), apart(q, heads), { transposeA: true }), scale)),
      () => joined(matmul(weights(), perHead(), { transposeA: true })),
      bias && (() => unbroadcast(scores(), bias.dims)),
    ];
  },
  attentionWeights: onlyOnce,
} satisfies Partial<GradientRules>;
