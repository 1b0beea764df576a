/** @file What a graph costs: floating-point operations of its products, and bytes of its parameters. */

import { byteSize, count } from "../tensor/index.js";
import { isOp, topologicalOrder, type Value } from "./value.js";

/** Floating-point operations of one value; only products count (a multiply and an add are two). */
export function flopsOf(value: Value): number {
  const results = count(value.dims);
  if (isOp(value, "conv2d")) return 2 * results * count(value.inputs[1]!.dims.slice(1));
  if (isOp(value, "linear")) return 2 * results * value.inputs[1]!.dims[1]!;
  if (isOp(value, "matmul"))
    return 2 * results * value.inputs[0]!.dims.at(value.attributes.transposeA ? -2 : -1)!;
  if (isOp(value, "quantizedLinear")) return 2 * results * value.inputs[0]!.dims.at(-1)!;
  if (isOp(value, "cachedAttention")) return 4 * results * value.inputs[5]!.dims[1]!;
  if (isOp(value, "attention")) return 4 * results * value.inputs[1]!.dims[1]!;
  if (isOp(value, "conv2dInputGradient"))
    return 2 * count(value.inputs[0]!.dims) * count(value.inputs[1]!.dims.slice(1));
  if (isOp(value, "conv2dWeightGradient"))
    return 2 * count(value.inputs[1]!.dims) * count(value.dims.slice(1));
  if (isOp(value, "attentionWeights"))
    return (2 * results * value.inputs[0]!.dims[2]!) / value.attributes.heads;
  return 0;
}

/** Floating-point operations of everything that the outputs need. */
export function flops(outputs: Iterable<Value>): number {
  return topologicalOrder(outputs).reduce((total, value) => total + flopsOf(value), 0);
}

/** Bytes of the parameters that the outputs need, as stored or as f32. */
export function parameterBytes(outputs: Iterable<Value>, as: "stored" | "f32" = "stored"): number {
  let total = 0;
  for (const value of topologicalOrder(outputs)) {
    if (isOp(value, "parameter"))
      total += count(value.dims) * (as === "f32" ? 4 : byteSize(value.attributes.stored));
  }
  return total;
}
