/** @file How the operations of language models are written in ONNX; shapes leave the number of rows open. */

import { Tensor } from "../../tensor/index.js";
import type { Value } from "../value.js";
import type { Emitter } from "./emitter.js";
import type { Kernels } from "./kernels.js";

const microsoft = { domain: "com.microsoft" } as const;

export function rotary(
  { attributes: { heads }, dims, inputs }: Value<"rotary">,
  [x, cos, sin]: readonly string[],
  to: Emitter,
): string {
  const [batch, length] = dims as [number, number, number];
  const rows = inputs[1]!.dims[0]!;
  // One number is where the positions begin; else each token's row of the tables.
  const places =
    rows === length
      ? to.integers([0])
      : to.constant(
          Tensor.i64(
            [batch, length],
            Float64Array.from({ length: rows }, (_, i) => i),
          ),
        );
  return to.emit("RotaryEmbedding", [x!, places, cos!, sin!], { num_heads: heads }, microsoft);
}

/**
 * The past and the new rows are two products each, whose scores are joined: joining the keys would copy the past. The
 * query heads that share a head of keys are rows of one product.
 */
export function cachedAttention(
  { attributes: { heads, scale }, inputs }: Value<"cachedAttention">,
  names: readonly string[],
  to: Emitter,
  { readsHeads = false }: Kernels,
): string {
  const [q, k, v, pastKeys, pastValues, bias] = names as [string, string, string, string, string, string];
  const [, kvHeads, width] = inputs[3]!.dims as [number, number, number];
  const widthV = inputs[4]!.dims[2]!;
  const groups = heads / kvHeads;

  // 1. Queries as [kvHeads, groups * T, d]
  const apart = to.transpose(to.reshape(q, [-1, kvHeads, groups, width]), [1, 2, 0, 3]);
  const queries = to.reshape(apart, [kvHeads, -1, width]);

  // 2. A product with the rows [R, kvHeads, d] of each head
  const byHead = (a: string, rows: string, options: { transB?: number; alpha?: { float: number } } = {}) =>
    readsHeads
      ? to.emit("FusedMatMul", [a, rows], { ...options, transBatchB: 1 }, microsoft)
      : to.emit("FusedMatMul", [a, to.transpose(rows, [1, 0, 2])], options, microsoft);
  const scored = { transB: 1, alpha: { float: scale } };
  const pastScores = byHead(queries, pastKeys, scored);
  const newScores = byHead(queries, to.reshape(k, [-1, kvHeads, width]), scored);

  // 3. Softmax over all keys
  const scores = to.emit("Concat", [pastScores, newScores], { axis: 2 });
  const weights = to.emit("Softmax", [to.emit("Add", [scores, bias])], { axis: -1 });
  const past = to.emit("Shape", [pastScores], { start: 2 });
  const [start, end, axis] = [[0], [2 ** 31 - 1], [2]].map((one) => to.integers(one)) as [
    string,
    string,
    string,
  ];
  const pastWeights = to.emit("Slice", [weights, start, past, axis]);
  const newWeights = to.emit("Slice", [weights, past, end, axis]);

  // 4. Values, heads side by side again
  const seen = to.emit("Add", [
    byHead(pastWeights, pastValues),
    byHead(newWeights, to.reshape(v, [-1, kvHeads, widthV])),
  ]);
  const split = to.transpose(to.reshape(seen, [kvHeads, groups, -1, widthV]), [2, 0, 1, 3]);
  return to.reshape(split, [1, -1, heads * widthV]);
}

/** How exactly the runtime's kernel computes: 1 in f32, 4 with activations of 8 bits. */
const accuracy = { f32: 1, i8: 4 };

export function quantizedLinear(
  { attributes: { bits, block, activations }, dims, inputs }: Value<"quantizedLinear">,
  [x, weight, scales, bias]: readonly string[],
  to: Emitter,
): string {
  const columns = dims.at(-1)!;
  const terms = inputs[0]!.dims.at(-1)!;
  const flat = to.reshape(scales!, [columns * (terms / block)]);
  const attributes = { K: terms, N: columns, bits, block_size: block, accuracy_level: accuracy[activations] };
  const product = to.emit("MatMulNBits", [x!, weight!, flat], attributes, microsoft);
  return bias ? to.emit("Add", [product, bias]) : product;
}
