/** @file Operations that only gradients are made of: kernels of their own, or numbers that the forward part has already. */

import type { Dims } from "../../tensor/index.js";
import { node } from "../construct.js";
import type { OpAttributes, Value } from "../value.js";

/** The gradient of a convolution's grid. dy [B, C', H', W'], weight [C', C / groups, kh, kw] -> dims [B, C, H, W] */
export function conv2dInputGradient(
  dy: Value,
  weight: Value,
  dims: Dims,
  attributes: OpAttributes["conv2d"],
): Value<"conv2dInputGradient"> {
  return node("conv2dInputGradient", [dy, weight], attributes, dims);
}

/** The gradient of a convolution's weights. x [B, C, H, W], dy [B, C', H', W'] -> dims [C', C / groups, kh, kw] */
export function conv2dWeightGradient(
  x: Value,
  dy: Value,
  dims: Dims,
  attributes: OpAttributes["conv2d"],
): Value<"conv2dWeightGradient"> {
  return node("conv2dWeightGradient", [x, dy], attributes, dims);
}

/** What an attention multiplies its values by, softmax(scale q kᵀ + bias): [B, heads, Q, K]. */
export function attentionWeights({ inputs, attributes }: Value<"attention">): Value<"attentionWeights"> {
  const [q, k, , ...bias] = inputs as [Value, Value, Value, Value?];
  const dims = [q.dims[0]!, attributes.heads, q.dims[1]!, k.dims[1]!];
  return node("attentionWeights", [q, k, ...(bias as Value[])], attributes, dims);
}

/** What a group normalisation divides: x without the mean of its group. [B, C, ...] */
export function groupCentred({ inputs, attributes: { groups } }: Value<"groupNorm">): Value<"groupCentred"> {
  const x = inputs[0]!;
  return node("groupCentred", [x], { groups }, x.dims);
}

/** What it multiplies them by: 1 / √(mean square of the group + eps). [B, groups, 1] */
export function groupInverse(
  centred: Value<"groupCentred">,
  { eps }: OpAttributes["groupNorm"],
): Value<"groupInverse"> {
  return node("groupInverse", [centred], { eps }, [centred.dims[0]!, centred.attributes.groups, 1]);
}

/** The mean that a layer normalisation takes away: [..., 1] */
export function layerMean({ inputs, attributes, dims }: Value<"layerNorm">): Value<"layerMean"> {
  return node("layerMean", inputs, attributes, [...dims.slice(0, -1), 1]);
}

/** What it multiplies by: 1 / √(variance + eps). [..., 1] */
export function layerInverse({ inputs, attributes, dims }: Value<"layerNorm">): Value<"layerInverse"> {
  return node("layerInverse", inputs, attributes, [...dims.slice(0, -1), 1]);
}

/** scale x + bias, one pair a row: x [R, n], scale and bias [R] -> [R, n] */
export function affine(x: Value, scale: Value, bias: Value): Value<"affine"> {
  return node("affine", [x, scale, bias], {}, x.dims);
}

/** The sum of the places that one number was copied to: dy [B, C, H, W] -> dims [B, C, h, w] */
export function upsampleNearestGradient(dy: Value, dims: Dims): Value<"upsampleNearestGradient"> {
  return node("upsampleNearestGradient", [dy], {}, dims);
}

/**
 * The same numbers, given only once `first` is computed. Without it the runtime would see that what is computed again
 * from them is there already, and keep it.
 */
export function after(x: Value, first: Value): Value<"after"> {
  return node("after", [x, first], {}, x.dims, x.dtype);
}
