/** @file What every operation's constructor needs: a node with checked sizes, and messages with the shapes in them. */

import { type Dims, type DType, failure, formatDims } from "../tensor/index.js";
import type { OpAttributes, OpName, Value } from "./value.js";

export function node<K extends OpName>(
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

export function mismatch(op: string, reason: string): never {
  throw failure("SHAPE", `${op}: ${reason}`);
}

/** One number a channel, as scales and biases are. */
export function isVector({ dims }: Value, size: number): boolean {
  return dims.length === 1 && dims[0] === size;
}

/** "x [2, 3], weight [4, 5]", leaving out what is not there. */
export function shapes(values: Readonly<Record<string, Value | undefined>>): string {
  return Object.entries(values)
    .flatMap(([name, value]) => (value ? [`${name} ${formatDims(value.dims)}`] : []))
    .join(", ");
}

export function axisOf(op: string, axis: number, rank: number): number {
  const positive = axis < 0 ? axis + rank : axis;
  if (positive < 0 || positive >= rank) mismatch(op, `axis ${axis} does not exist in ${rank} dimensions`);
  return positive;
}
