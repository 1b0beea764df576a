/** @file The operations of language models: rotary positions, attention to remembered keys, quantised products. */

import { isVector, mismatch, node, shapes } from "./construct.js";
import { isOp, type OpAttributes, type Value } from "./value.js";

/**
 * Rotary position embedding in its half-split form: each head's halves (a, b) become (a cos - b sin, b cos + a sin).
 * @param x [B, T, heads * d], heads side by side
 * @param cos of each position's angles [T, d / 2]; [B T, d / 2] where positions differ between sequences
 * @param sin of its dims
 * @see Su et al. 2021, eq. 34
 */
export function rotary(x: Value, cos: Value, sin: Value, { heads }: OpAttributes["rotary"]): Value<"rotary"> {
  const [batch, length, channels] = x.dims;
  const [rows, half] = cos.dims;
  const wrong =
    x.dims.length !== 3 ||
    cos.dims.length !== 2 ||
    `${sin.dims}` !== `${cos.dims}` ||
    (rows !== length && rows !== batch! * length!) ||
    channels !== 2 * heads * half!;
  if (wrong) mismatch("rotary", `${shapes({ x, cos, sin })}, ${heads} heads`);
  return node("rotary", [x, cos, sin], { heads }, x.dims);
}

/** What `cachedAttention` sees of the past, and how. */
export interface CachedAttentionInputs {
  /** Keys and values of earlier tokens, a row each [P, kvHeads, d], [P, kvHeads, d'] */
  pastKeys: Value;
  pastValues: Value;
  /**
   * Added to the scores, [heads / kvHeads * T, P + T]: the T rows of each query head that shares a key head, one head
   * after another.
   */
  bias: Value;
  heads: number;
  scale: number;
}

/**
 * softmax(scale q [past, k]ᵀ + bias) [past, v] of one batch of rows, which need not be one text: the bias says which rows
 * see which. Nothing of the past is copied. Several query heads may share a head of keys and values.
 * @param q [1, T, heads * d]
 * @param k [1, T, kvHeads * d]
 * @param v [1, T, kvHeads * d']
 * @returns [1, T, heads * d']
 * @see Ainslie et al. 2023 (grouped queries)
 */
export function cachedAttention(
  q: Value,
  k: Value,
  v: Value,
  { pastKeys, pastValues, bias, heads, scale }: CachedAttentionInputs,
): Value<"cachedAttention"> {
  const [, length, channels] = q.dims;
  const [past, kvHeads, width] = pastKeys.dims;
  const widthV = pastValues.dims[2];
  const groups = heads / kvHeads!;
  const wrong =
    [q, k, v].some(({ dims }) => dims.length !== 3 || dims[0] !== 1 || dims[1] !== length) ||
    [pastKeys, pastValues].some(({ dims }) => dims.length !== 3 || dims[0] !== past || dims[1] !== kvHeads) ||
    !Number.isInteger(groups) ||
    channels !== heads * width! ||
    k.dims[2] !== kvHeads! * width! ||
    v.dims[2] !== kvHeads! * widthV! ||
    `${bias.dims}` !== `${[groups * length!, past! + length!]}`;
  if (wrong)
    mismatch("cachedAttention", `${shapes({ q, k, v, pastKeys, pastValues, bias })}, ${heads} heads`);
  return node("cachedAttention", [q, k, v, pastKeys, pastValues, bias], { heads, scale }, [
    1,
    length!,
    heads * widthV!,
  ]);
}

/** How a matrix is quantised: each run of `block` weights of a row is a scale times whole numbers of few bits. */
export type Quantization = Pick<OpAttributes["quantizedLinear"], "bits" | "block">;

/**
 * A linear layer whose weights are whole numbers of 4 or 8 bits from the middle of their range on, times a scale a block.
 * @param x [..., in]
 * @param weight a parameter of u8 [out, in / block, block * bits / 8], low bits first
 * @param scales [out, in / block]
 * @param bias [out]
 * @param options `activations`: "i8" rounds each block of x to 8 bits as well, which is several times as fast
 * @returns [..., out]
 * @see https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
 */
export function quantizedLinear(
  x: Value,
  weight: Value,
  scales: Value,
  bias: Value | undefined,
  { bits, block, activations }: OpAttributes["quantizedLinear"],
): Value<"quantizedLinear"> {
  const [out, blocks, bytes] = weight.dims;
  const wrong =
    !isOp(weight, "parameter") ||
    weight.attributes.stored !== "u8" ||
    weight.dims.length !== 3 ||
    bytes! * 8 !== block * bits ||
    x.dims.at(-1) !== blocks! * block ||
    `${scales.dims}` !== `${[out, blocks]}` ||
    (bias && !isVector(bias, out!));
  if (wrong)
    mismatch("quantizedLinear", `${shapes({ x, weight, scales, bias })}, ${bits} bits in blocks of ${block}`);
  if (block < 16 || !Number.isInteger(Math.log2(block))) {
    mismatch("quantizedLinear", `a block is a power of 2 from 16, not ${block}`);
  }
  const inputs = bias ? [x, weight, scales, bias] : [x, weight, scales];
  return node("quantizedLinear", inputs, { bits, block, activations }, [...x.dims.slice(0, -1), out!]);
}
