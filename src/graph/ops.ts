/** @file The operations: each function checks its shapes and returns a new value. */

import { byteSize, count, type Dims, type DType, formatDims, Tensor } from "../tensor/index.js";
import { axisOf, isVector, mismatch, node, shapes } from "./construct.js";
import type { OpAttributes, Padding, Storage, Value } from "./value.js";

// Leaves

/** A tensor given at run time. */
export function input(name: string, dims: Dims, dtype: DType = "f32"): Value<"input"> {
  return node("input", [], { name }, dims, dtype);
}

/** Trained numbers, stored as `stored` and computed with as f32. */
export function parameter(key: string, dims: Dims, stored: DType, storage: Storage): Value<"parameter"> {
  const { length } = "bytes" in storage ? storage.bytes : storage;
  if (length !== count(dims) * byteSize(stored)) {
    mismatch("parameter", `${key} ${formatDims(dims)} of ${stored} is not ${length} bytes long`);
  }
  return node("parameter", [], { key, stored, storage }, dims);
}

/** Numbers known when the graph is written. */
export function constant(tensor: Tensor): Value<"constant"> {
  return node("constant", [], { tensor }, tensor.dims, tensor.dtype);
}

/** One f32 number, broadcast as needed. */
export function scalar(value: number): Value<"constant"> {
  return constant(Tensor.f32([], [value]));
}

// Elementwise

/** The shape that numpy's broadcasting gives. */
export function broadcastDims(op: string, a: Dims, b: Dims): Dims {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) mismatch(op, `${formatDims(a)} and ${formatDims(b)} do not broadcast`);
    return x === 1 ? y : x;
  });
}

function binary<K extends "add" | "sub" | "mul" | "div" | "equal" | "greater">(
  op: K,
  a: Value,
  b: Value,
  dtype = a.dtype,
): Value<K> {
  if (a.dtype !== b.dtype)
    mismatch(op, `${formatDims(a.dims)} is ${a.dtype}, ${formatDims(b.dims)} ${b.dtype}`);
  return node<K>(op, [a, b], {} as OpAttributes[K], broadcastDims(op, a.dims, b.dims), dtype);
}

function operand(x: Value | number): Value {
  return typeof x === "number" ? scalar(x) : x;
}

export const add = (a: Value, b: Value | number) => binary("add", a, operand(b));
export const sub = (a: Value, b: Value | number) => binary("sub", a, operand(b));
export const mul = (a: Value, b: Value | number) => binary("mul", a, operand(b));
export const div = (a: Value, b: Value | number) => binary("div", a, operand(b));
/** 1 where a = b, 0 elsewhere; f32 whatever the operands are. */
export const equal = (a: Value, b: Value | number) => binary("equal", a, operand(b), "f32");
/** 1 where a > b, 0 elsewhere; f32 whatever the operands are. */
export const greater = (a: Value, b: Value | number) => binary("greater", a, operand(b), "f32");

const unary =
  <K extends "exp" | "log" | "sqrt" | "abs" | "erf" | "tanh" | "sigmoid" | "relu" | "silu" | "quickGelu">(
    op: K,
  ) =>
  (x: Value): Value<K> =>
    node<K>(op, [x], {} as OpAttributes[K], x.dims);

export const exp = unary("exp");
export const log = unary("log");
export const sqrt = unary("sqrt");
export const abs = unary("abs");
/** 2/√π ∫₀ˣ e^(-t²) dt */
export const erf = unary("erf");
export const tanh = unary("tanh");
export const sigmoid = unary("sigmoid");
export const relu = unary("relu");
/** x σ(x) */
export const silu = unary("silu");
/** x σ(1.702 x), as in OpenAI's CLIP */
export const quickGelu = unary("quickGelu");

/** x Φ(x), exact (erf) or by tanh. */
export function gelu(x: Value, { approximate = "none" }: Partial<OpAttributes["gelu"]> = {}): Value<"gelu"> {
  return node("gelu", [x], { approximate }, x.dims);
}

export function clamp(x: Value, min: number, max: number): Value<"clamp"> {
  if (!(min <= max)) mismatch("clamp", `nothing lies between ${min} and ${max}`);
  return node("clamp", [x], { min, max }, x.dims);
}

/** The same numbers, through which no gradient flows. */
export function detach(x: Value): Value<"detach"> {
  return node("detach", [x], {}, x.dims, x.dtype);
}

// Products

/** [..., m, k] x [..., k, n] -> [..., m, n]; leading sizes broadcast. Either can be given with its last two axes swapped. */
export function matmul(
  a: Value,
  b: Value,
  { transposeA = false, transposeB = false }: Partial<OpAttributes["matmul"]> = {},
): Value<"matmul"> {
  const [m, k] = transposeA ? [a.dims.at(-1), a.dims.at(-2)] : [a.dims.at(-2), a.dims.at(-1)];
  const [inner, n] = transposeB ? [b.dims.at(-1), b.dims.at(-2)] : [b.dims.at(-2), b.dims.at(-1)];
  if (a.dims.length < 2 || b.dims.length < 2 || k !== inner) {
    const mark = (transposed: boolean) => (transposed ? "ᵀ" : "");
    mismatch("matmul", `${formatDims(a.dims)}${mark(transposeA)} x ${formatDims(b.dims)}${mark(transposeB)}`);
  }
  const batch = broadcastDims("matmul", a.dims.slice(0, -2), b.dims.slice(0, -2));
  return node("matmul", [a, b], { transposeA, transposeB }, [...batch, m!, n!]);
}

/** x [..., in], weight [out, in], bias [out] -> [..., out] */
export function linear(x: Value, weight: Value, bias?: Value): Value<"linear"> {
  const [out, inner] = weight.dims;
  if (weight.dims.length !== 2 || x.dims.at(-1) !== inner || (bias && !isVector(bias, out!))) {
    mismatch("linear", shapes({ x, weight, bias }));
  }
  return node("linear", bias ? [x, weight, bias] : [x, weight], {}, [...x.dims.slice(0, -1), out!]);
}

/** x [B, C, H, W], weight [C', C / groups, kh, kw], bias [C'] -> [B, C', H', W'] */
export function conv2d(
  x: Value,
  weight: Value,
  bias?: Value,
  {
    stride = 1,
    padding = 0,
    groups = 1,
  }: { stride?: number; padding?: number | Padding; groups?: number } = {},
): Value<"conv2d"> {
  const pads: Padding = typeof padding === "number" ? [padding, padding, padding, padding] : padding;
  const [batch, channels, height, width] = x.dims;
  const [out, inner, kernelHeight, kernelWidth] = weight.dims;
  if (
    x.dims.length !== 4 ||
    weight.dims.length !== 4 ||
    !Number.isInteger(groups) ||
    groups < 1 ||
    channels !== inner! * groups ||
    out! % groups !== 0 ||
    (bias && !isVector(bias, out!)) ||
    !Number.isInteger(stride) ||
    stride < 1 ||
    !pads.every((cells) => Number.isInteger(cells) && cells >= 0)
  ) {
    const options = `stride ${stride}, padding ${formatDims(pads)}${groups === 1 ? "" : `, ${groups} groups`}`;
    mismatch("conv2d", `${shapes({ x, weight, bias })}, ${options}`);
  }
  const rows = Math.floor((height! + pads[0] + pads[2] - kernelHeight!) / stride) + 1;
  const columns = Math.floor((width! + pads[1] + pads[3] - kernelWidth!) / stride) + 1;
  if (rows < 1 || columns < 1) {
    mismatch(
      "conv2d",
      `the padded grid of x ${formatDims(x.dims)} is smaller than weight ${formatDims(weight.dims)}`,
    );
  }
  const attributes = { stride, padding: pads, groups };
  return node("conv2d", bias ? [x, weight, bias] : [x, weight], attributes, [batch!, out!, rows, columns]);
}

/**
 * softmax(scale q kᵀ + bias) v, heads side by side in the last axis.
 * q [B, Q, heads * d], k [B, K, heads * d], v [B, K, heads * d'], bias [1 or B, 1 or heads, Q, K] -> [B, Q, heads * d']
 * Causal: the last query sees every key, each one before it one key less.
 */
export function attention(
  q: Value,
  k: Value,
  v: Value,
  { heads, scale, causal = false, bias }: { heads: number; scale: number; causal?: boolean; bias?: Value },
): Value<"attention"> {
  const [batch, queries, channels] = q.dims;
  const keys = k.dims[1]!;
  const allowed = [[1, batch], [1, heads], [queries], [keys]];
  const wrong =
    [q, k, v].some(({ dims }) => dims.length !== 3 || dims[0] !== batch || dims[2]! % heads !== 0) ||
    k.dims[2] !== channels ||
    v.dims[1] !== keys ||
    (causal && keys < queries!) ||
    (bias && (bias.dims.length !== 4 || !bias.dims.every((size, axis) => allowed[axis]!.includes(size))));
  if (wrong) mismatch("attention", `${shapes({ q, k, v, bias })}, ${heads} heads${causal ? ", causal" : ""}`);
  return node("attention", bias ? [q, k, v, bias] : [q, k, v], { heads, scale, causal }, [
    batch!,
    queries!,
    v.dims[2]!,
  ]);
}

// Normalisations

/** Per group of channels over the grid. x [B, C, ...], scale and bias [C] */
export function groupNorm(
  x: Value,
  scale: Value,
  bias: Value,
  { groups, eps }: OpAttributes["groupNorm"],
): Value<"groupNorm"> {
  const channels = x.dims[1];
  if (
    channels === undefined ||
    channels % groups ||
    !isVector(scale, channels) ||
    !isVector(bias, channels)
  ) {
    mismatch("groupNorm", `${shapes({ x, scale, bias })}, ${groups} groups`);
  }
  return node("groupNorm", [x, scale, bias], { groups, eps }, x.dims);
}

/** Over the last axis. x [..., C], scale and bias [C] */
export function layerNorm(
  x: Value,
  scale: Value,
  bias: Value,
  { eps }: OpAttributes["layerNorm"],
): Value<"layerNorm"> {
  const channels = x.dims.at(-1);
  if (channels === undefined || !isVector(scale, channels) || !isVector(bias, channels)) {
    mismatch("layerNorm", shapes({ x, scale, bias }));
  }
  return node("layerNorm", [x, scale, bias], { eps }, x.dims);
}

/** x / √(mean x² + eps) · scale over the last axis. x [..., C], scale [C] */
export function rmsNorm(x: Value, scale: Value, { eps }: OpAttributes["rmsNorm"]): Value<"rmsNorm"> {
  const channels = x.dims.at(-1);
  if (channels === undefined || !isVector(scale, channels)) mismatch("rmsNorm", shapes({ x, scale }));
  return node("rmsNorm", [x, scale], { eps }, x.dims);
}

/** Over the last axis. */
export function softmax(x: Value): Value<"softmax"> {
  axisOf("softmax", -1, x.dims.length);
  return node("softmax", [x], {}, x.dims);
}

/** The logarithm of softmax, over the last axis; safe for large numbers. */
export function logSoftmax(x: Value): Value<"logSoftmax"> {
  axisOf("logSoftmax", -1, x.dims.length);
  return node("logSoftmax", [x], {}, x.dims);
}

/**
 * -log softmax(logits)[target] of each place; what does not count is multiplied by 0 afterwards.
 * @param logits [..., classes]
 * @param targets [...] (i64), each from 0 to classes - 1
 * @returns [...]
 */
export function crossEntropy(logits: Value, targets: Value): Value {
  if (`${targets.dims}` !== `${logits.dims.slice(0, -1)}`)
    mismatch("crossEntropy", shapes({ logits, targets }));
  const chosen = mul(logSoftmax(logits), oneHot(targets, logits.dims.at(-1)!));
  return reshape(mul(sum(chosen, -1), -1), targets.dims);
}

// Reductions (the reduced axes stay, with size 1)

const reduction =
  <K extends "mean" | "sum" | "max">(op: K) =>
  (x: Value, ...axes: number[]): Value<K> => {
    const reduced = axes.map((axis) => axisOf(op, axis, x.dims.length));
    if (reduced.length === 0 || new Set(reduced).size < reduced.length) {
      mismatch(op, `${formatDims(x.dims)} over the axes ${formatDims(axes)}`);
    }
    const dims = x.dims.map((size, axis) => (reduced.includes(axis) ? 1 : size));
    return node<K>(op, [x], { axes: reduced } as OpAttributes[K], dims);
  };

export const mean = reduction("mean");
export const sum = reduction("sum");
export const max = reduction("max");

/** log Σ exp over one axis, which stays with size 1; safe for large numbers. */
export function logSumExp(x: Value, axis: number): Value {
  // It cancels, and so does its gradient.
  const top = detach(max(x, axis));
  return add(log(sum(exp(sub(x, top)), axis)), top);
}

// Movement

/** The same numbers under another shape; one size may be -1. */
export function reshape(x: Value, dims: Dims): Value {
  const known = dims.reduce((product, size) => (size === -1 ? product : product * size), 1);
  const full = dims.map((size) => (size === -1 ? count(x.dims) / known : size));
  if (count(full) !== count(x.dims)) mismatch("reshape", `${formatDims(x.dims)} into ${formatDims(dims)}`);
  return node("reshape", [x], {}, full, x.dtype);
}

export function transpose(x: Value, permutation: readonly number[]): Value {
  if (permutation.length !== x.dims.length || !x.dims.every((_, axis) => permutation.includes(axis))) {
    mismatch("transpose", `${formatDims(x.dims)} by ${formatDims(permutation)}`);
  }
  return node(
    "transpose",
    [x],
    { permutation },
    permutation.map((axis) => x.dims[axis]!),
    x.dtype,
  );
}

export function concat(values: readonly Value[], axis: number): Value {
  const [first] = values;
  if (!first) mismatch("concat", "nothing to join");
  const at = axisOf("concat", axis, first.dims.length);
  for (const { dims, dtype } of values) {
    const alike = dims.length === first.dims.length && dtype === first.dtype;
    if (!alike || dims.some((size, i) => i !== at && size !== first.dims[i])) {
      mismatch("concat", values.map((value) => formatDims(value.dims)).join(", "));
    }
  }
  const total = values.reduce((sumOfSizes, value) => sumOfSizes + value.dims[at]!, 0);
  return node(
    "concat",
    values,
    { axis: at },
    first.dims.map((size, i) => (i === at ? total : size)),
    first.dtype,
  );
}

/** Elements start .. end - 1 of one axis. */
export function slice(x: Value, axis: number, start: number, end: number): Value {
  const at = axisOf("slice", axis, x.dims.length);
  if (start < 0 || end > x.dims[at]! || start >= end) {
    mismatch("slice", `${start}..${end} of axis ${at} of ${formatDims(x.dims)}`);
  }
  return node(
    "slice",
    [x],
    { axis: at, start, end },
    x.dims.map((size, i) => (i === at ? end - start : size)),
    x.dtype,
  );
}

/** Equal parts along one axis. */
export function split(x: Value, axis: number, parts: number): Value[] {
  const at = axisOf("split", axis, x.dims.length);
  const size = x.dims[at]! / parts;
  if (!Number.isInteger(size))
    mismatch("split", `axis ${at} of ${formatDims(x.dims)} in ${parts} equal parts`);
  return Array.from({ length: parts }, (_, i) => slice(x, at, i * size, (i + 1) * size));
}

/** Zeros around: x [n, ...] -> [before[0] + n + after[0], ...] */
export function pad(x: Value, before: readonly number[], after: readonly number[]): Value {
  const cells = [...before, ...after];
  if (cells.length !== 2 * x.dims.length || !cells.every((one) => Number.isInteger(one) && one >= 0)) {
    mismatch("pad", `${shapes({ x })} by ${formatDims(before)} before and ${formatDims(after)} after`);
  }
  const dims = x.dims.map((size, axis) => before[axis]! + size + after[axis]!);
  if (cells.every((one) => one === 0)) return x;
  return node("pad", [x], { before, after }, dims, x.dtype);
}

/** The same numbers repeated along axes of size 1, or new ones before them, as broadcasting does. */
export function expand(x: Value, dims: Dims): Value {
  if (`${broadcastDims("expand", x.dims, dims)}` !== `${dims}`) {
    mismatch("expand", `${formatDims(x.dims)} to ${formatDims(dims)}`);
  }
  return `${x.dims}` === `${dims}` ? x : node("expand", [x], {}, dims, x.dtype);
}

/** Rows of a table: table [rows, ...rest], indices [...] (i64) -> [..., ...rest] */
export function gather(table: Value, indices: Value): Value<"gather"> {
  if (table.dims.length === 0 || indices.dtype !== "i64") {
    mismatch("gather", `${shapes({ table, indices })}; indices are i64, not ${indices.dtype}`);
  }
  return node("gather", [table, indices], {}, [...indices.dims, ...table.dims.slice(1)], table.dtype);
}

/**
 * The sum of what goes to each row of a table: indices [...] (i64, 0 to rows - 1), updates [..., ...rest] -> [rows, ...rest]
 */
export function scatterAdd(indices: Value, updates: Value, rows: number): Value<"scatterAdd"> {
  const places = indices.dims.length;
  if (indices.dtype !== "i64" || `${updates.dims.slice(0, places)}` !== `${indices.dims}`) {
    mismatch("scatterAdd", `${shapes({ indices, updates })}; indices are i64, not ${indices.dtype}`);
  }
  return node("scatterAdd", [indices, updates], { rows }, [rows, ...updates.dims.slice(places)]);
}

/** indices [...] (i64) -> [..., size]: 1 at each index, 0 elsewhere. */
export function oneHot(indices: Value, size: number): Value<"equal"> {
  const places = Array.from({ length: size }, (_, i) => i);
  return equal(reshape(indices, [...indices.dims, 1]), constant(Tensor.i64([size], places)));
}

/** Nearest neighbours: x [B, C, h, w] -> [B, C, height, width], source index floor(i h / height). */
export function upsampleNearest(x: Value, height: number, width: number): Value<"upsampleNearest"> {
  if (x.dims.length !== 4) mismatch("upsampleNearest", `${shapes({ x })} to ${height} x ${width}`);
  return node("upsampleNearest", [x], {}, [x.dims[0]!, x.dims[1]!, height, width]);
}
