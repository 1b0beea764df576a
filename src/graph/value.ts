/** @file Values of a computation: an immutable graph of typed operations. What nobody asks for is never emitted. */

import { byteSize, count, type Dims, type DType, type Tensor } from "../tensor/index.js";

/** A range of a file. */
export interface FileRange {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

/** Where the numbers of a parameter lie: in a file (read in place) or in memory. */
export type Storage = FileRange | { readonly bytes: Uint8Array };

/** Zero padding around the grid: [top, left, bottom, right]. */
export type Padding = readonly [number, number, number, number];

type None = Record<never, never>;

/** Every operation with its attributes. Shapes are static; floats are f32. */
export interface OpAttributes {
  // leaves
  input: { name: string };
  parameter: { key: string; stored: DType; storage: Storage };
  constant: { tensor: Tensor };
  // elementwise, with numpy's broadcasting
  add: None;
  sub: None;
  mul: None;
  div: None;
  equal: None;
  greater: None;
  // elementwise
  exp: None;
  log: None;
  sqrt: None;
  abs: None;
  erf: None;
  tanh: None;
  sigmoid: None;
  relu: None;
  silu: None;
  gelu: { approximate: "none" | "tanh" };
  quickGelu: None;
  clamp: { min: number; max: number };
  detach: None;
  // products
  matmul: { transposeA: boolean; transposeB: boolean };
  linear: None;
  conv2d: { stride: number; padding: Padding; groups: number };
  attention: { heads: number; scale: number; causal: boolean };
  // of language models
  rotary: { heads: number };
  cachedAttention: { heads: number; scale: number };
  quantizedLinear: { bits: 4 | 8; block: number; activations: "f32" | "i8" };
  // normalisations
  groupNorm: { groups: number; eps: number };
  layerNorm: { eps: number };
  rmsNorm: { eps: number };
  softmax: None;
  logSoftmax: None;
  // reductions
  mean: { axes: readonly number[] };
  sum: { axes: readonly number[] };
  max: { axes: readonly number[] };
  // movement
  reshape: None;
  transpose: { permutation: readonly number[] };
  concat: { axis: number };
  slice: { axis: number; start: number; end: number };
  pad: { before: readonly number[]; after: readonly number[] };
  expand: None;
  gather: None;
  scatterAdd: { rows: number };
  upsampleNearest: None;
  // what only gradients are made of
  conv2dInputGradient: OpAttributes["conv2d"];
  conv2dWeightGradient: OpAttributes["conv2d"];
  attentionWeights: OpAttributes["attention"];
  groupCentred: { groups: number };
  groupInverse: { eps: number };
  layerMean: { eps: number };
  layerInverse: { eps: number };
  affine: None;
  upsampleNearestGradient: None;
  after: None;
}

export type OpName = keyof OpAttributes;

/** One node of the graph. `dims` are in elements, row-major. */
export interface Value<K extends OpName = OpName> {
  readonly op: K;
  readonly inputs: readonly Value[];
  readonly attributes: OpAttributes[K];
  readonly dims: Dims;
  readonly dtype: DType;
}

/** Narrows a value to one operation. */
export function isOp<K extends OpName>(value: Value, op: K): value is Value<K> {
  return value.op === op;
}

/** A weight as it lies in its file, or in memory. */
export type Stored = OpAttributes["parameter"];

const rows = new WeakMap<Value, Stored>();

/**
 * Where a value's numbers lie, when nothing has to be computed for them: a parameter, or rows of one (a slice of its
 * first axis). The same object each time: weights in memory are told apart by the identity of their bytes.
 */
export function storedIn(value: Value): Stored | undefined {
  if (isOp(value, "parameter")) return value.attributes;
  const [source] = value.inputs;
  if (!isOp(value, "slice") || value.attributes.axis !== 0 || !source || !isOp(source, "parameter")) return;
  const known = rows.get(value);
  if (known) return known;
  const { key, stored, storage } = source.attributes;
  const row = byteSize(stored) * count(source.dims.slice(1));
  const from = value.attributes.start * row;
  const length = value.dims[0]! * row;
  const range =
    "file" in storage
      ? { file: storage.file, offset: storage.offset + from, length }
      : { bytes: storage.bytes.subarray(from, from + length) };
  const found = { key, stored, storage: range };
  rows.set(value, found);
  return found;
}

/** Every value that `outputs` need, inputs before users. Values in `stop` count as given and are not entered. */
export function topologicalOrder(outputs: Iterable<Value>, stop: ReadonlySet<Value> = new Set()): Value[] {
  const order: Value[] = [];
  const done = new Set<Value>();
  const stack: { value: Value; next: number }[] = [];
  const enter = (value: Value) => {
    if (done.has(value)) return;
    done.add(value);
    stack.push({ value, next: 0 });
  };
  for (const output of outputs) {
    enter(output);
    while (stack.length) {
      const top = stack[stack.length - 1]!;
      const inputs = stop.has(top.value) ? [] : top.value.inputs;
      if (top.next < inputs.length) enter(inputs[top.next++]!);
      else order.push(stack.pop()!.value);
    }
  }
  return order;
}

/** The values among `outputs`' ancestors whose numbers depend on one of `sources`. */
export function dependents(outputs: Iterable<Value>, sources: ReadonlySet<Value>): Set<Value> {
  const found = new Set<Value>();
  for (const value of topologicalOrder(outputs)) {
    if (sources.has(value) || value.inputs.some((input) => found.has(input))) found.add(value);
  }
  return found;
}

/**
 * The cut between what does not depend on `sources` and what does: values on the free side that the
 * dependent side (or the caller) needs. Leaves and rows of parameters are no work and are never cut.
 */
export function frontier(outputs: Iterable<Value>, sources: ReadonlySet<Value>): Value[] {
  const wanted = [...outputs];
  const dependent = dependents(wanted, sources);
  const cut = new Set<Value>();
  const consider = (value: Value) => {
    if (
      !dependent.has(value) &&
      storedIn(value) === undefined &&
      value.op !== "constant" &&
      value.op !== "input"
    ) {
      cut.add(value);
    }
  };
  for (const value of topologicalOrder(wanted)) {
    if (dependent.has(value)) value.inputs.forEach(consider);
  }
  for (const value of wanted) if (!dependent.has(value)) cut.add(value);
  return [...cut];
}
