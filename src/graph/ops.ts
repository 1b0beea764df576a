/** @file The operations: each function checks its shapes and returns a new value. */

import { byteSize, count, type Dims, type DType, failure, formatDims, Tensor } from "../tensor/index.js";
import type { OpAttributes, OpName, Padding, Storage, Value } from "./value.js";

function node<K extends OpName>(
  op: K,
  inputs: readonly Value[],
  attributes: OpAttributes[K],
  dims: Dims,
  dtype: DType = "f32",
): Value<K> {
  if (!dims.every((size) => Number.isInteger(size) && size > 0)) {
    mismatch(op, `${formatDims(dims)} is no shape; sizes are whole numbers from 1`);
  }
  return { op, inputs, attributes, dims, dtype };
}

function mismatch(op: string, reason: string): never {
  throw failure("SHAPE", `${op}: ${reason}`);
}

/** One number a channel, as scales and biases are. */
function isVector({ dims }: Value, size: number): boolean {
  return dims.length === 1 && dims[0] === size;
}

/** "x [2, 3], weight [4, 5]", leaving out what is not there. */
function shapes(values: Readonly<Record<string, Value | undefined>>): string {
  return Object.entries(values)
    .flatMap(([name, value]) => (value ? [`${name} ${formatDims(value.dims)}`] : []))
    .join(", ");
}

function axisOf(op: string, axis: number, rank: number): number {
  const positive = axis < 0 ? axis + rank : axis;
  if (positive < 0 || positive >= rank) mismatch(op, `axis ${axis} does not exist in ${rank} dimensions`);
  return positive;
}

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

function binary<K extends "add" | "sub" | "mul" | "div">(op: K, a: Value, b: Value): Value<K> {
  if (a.dtype !== b.dtype)
    mismatch(op, `${formatDims(a.dims)} is ${a.dtype}, ${formatDims(b.dims)} ${b.dtype}`);
  return node(op, [a, b], {}, broadcastDims(op, a.dims, b.dims), a.dtype);
}

function operand(x: Value | number): Value {
  return typeof x === "number" ? scalar(x) : x;
}

export const add = (a: Value, b: Value | number) => binary("add", a, operand(b));
export const sub = (a: Value, b: Value | number) => binary("sub", a, operand(b));
export const mul = (a: Value, b: Value | number) => binary("mul", a, operand(b));
export const div = (a: Value, b: Value | number) => binary("div", a, operand(b));

const unary =
  <K extends "exp" | "log" | "sqrt" | "tanh" | "sigmoid" | "relu" | "silu" | "quickGelu">(op: K) =>
  (x: Value): Value<K> =>
    node<K>(op, [x], {} as OpAttributes[K], x.dims);

export const exp = unary("exp");
export const log = unary("log");
export const sqrt = unary("sqrt");
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

// Products

/** [..., m, k] x [..., k, n] -> [..., m, n]; leading sizes broadcast. */
export function matmul(a: Value, b: Value): Value<"matmul"> {
  const k = a.dims.at(-1);
  if (a.dims.length < 2 || b.dims.length < 2 || k !== b.dims.at(-2)) {
    mismatch("matmul", `${formatDims(a.dims)} x ${formatDims(b.dims)}`);
  }
  const batch = broadcastDims("matmul", a.dims.slice(0, -2), b.dims.slice(0, -2));
  return node("matmul", [a, b], {}, [...batch, a.dims.at(-2)!, b.dims.at(-1)!]);
}

/** x [..., in], weight [out, in], bias [out] -> [..., out] */
export function linear(x: Value, weight: Value, bias?: Value): Value<"linear"> {
  const [out, inner] = weight.dims;
  if (weight.dims.length !== 2 || x.dims.at(-1) !== inner || (bias && !isVector(bias, out!))) {
    mismatch("linear", shapes({ x, weight, bias }));
  }
  return node("linear", bias ? [x, weight, bias] : [x, weight], {}, [...x.dims.slice(0, -1), out!]);
}

/** x [B, C, H, W], weight [C', C, kh, kw], bias [C'] -> [B, C', H', W'] */
export function conv2d(
  x: Value,
  weight: Value,
  bias?: Value,
  { stride = 1, padding = 0 }: { stride?: number; padding?: number | Padding } = {},
): Value<"conv2d"> {
  const pads: Padding = typeof padding === "number" ? [padding, padding, padding, padding] : padding;
  const [batch, channels, height, width] = x.dims;
  const [out, inner, kernelHeight, kernelWidth] = weight.dims;
  if (
    x.dims.length !== 4 ||
    weight.dims.length !== 4 ||
    channels !== inner ||
    (bias && !isVector(bias, out!)) ||
    !Number.isInteger(stride) ||
    stride < 1 ||
    !pads.every((cells) => Number.isInteger(cells) && cells >= 0)
  ) {
    mismatch("conv2d", `${shapes({ x, weight, bias })}, stride ${stride}, padding ${formatDims(pads)}`);
  }
  const rows = Math.floor((height! + pads[0] + pads[2] - kernelHeight!) / stride) + 1;
  const columns = Math.floor((width! + pads[1] + pads[3] - kernelWidth!) / stride) + 1;
  if (rows < 1 || columns < 1) {
    mismatch(
      "conv2d",
      `the padded grid of x ${formatDims(x.dims)} is smaller than weight ${formatDims(weight.dims)}`,
    );
  }
  const attributes = { stride, padding: pads };
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

/** Over the last axis. */
export function softmax(x: Value): Value<"softmax"> {
  axisOf("softmax", -1, x.dims.length);
  return node("softmax", [x], {}, x.dims);
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
  const top = max(x, axis);
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

/** Rows of a table: table [rows, ...rest], indices [...] (i64) -> [..., ...rest] */
export function gather(table: Value, indices: Value): Value<"gather"> {
  if (table.dims.length === 0 || indices.dtype !== "i64") {
    mismatch("gather", `${shapes({ table, indices })}; indices are i64, not ${indices.dtype}`);
  }
  return node("gather", [table, indices], {}, [...indices.dims, ...table.dims.slice(1)], table.dtype);
}

/** Nearest neighbours: x [B, C, h, w] -> [B, C, height, width], source index floor(i h / height). */
export function upsampleNearest(x: Value, height: number, width: number): Value<"upsampleNearest"> {
  if (x.dims.length !== 4) mismatch("upsampleNearest", `${shapes({ x })} to ${height} x ${width}`);
  return node("upsampleNearest", [x], {}, [x.dims[0]!, x.dims[1]!, height, width]);
}
