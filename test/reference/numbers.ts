/** @file Dense arrays of doubles, and the little index arithmetic that the evaluator needs. */

import { closeSync, openSync, readSync } from "node:fs";
import type { Storage } from "../../src/graph/index.js";
import { count, type Dims, type DType, Tensor, viewBytes } from "../../src/tensor/index.js";

/** A row-major array. */
export interface Numbers {
  readonly dims: Dims;
  readonly data: Float64Array;
}

/** The same numbers as doubles, whatever their type was. */
export function numbersOf({ dims, dtype, data }: Tensor): Numbers {
  return { dims, data: new Tensor(dtype, dims, data).to("f64").data as Float64Array };
}

/** Reads a parameter from memory or from its file. */
export function readParameter(dims: Dims, stored: DType, storage: Storage): Numbers {
  return numbersOf(new Tensor(stored, dims, viewBytes(stored, bytesOf(storage))));
}

function bytesOf(storage: Storage): Uint8Array {
  if ("bytes" in storage) return storage.bytes;
  const bytes = new Uint8Array(storage.length);
  const file = openSync(storage.file, "r");
  try {
    readSync(file, bytes, 0, storage.length, storage.offset);
  } finally {
    closeSync(file);
  }
  return bytes;
}

/** Steps between neighbours along each axis. */
export function stridesOf(dims: Dims): number[] {
  return dims.map((_, axis) => count(dims.slice(axis + 1)));
}

/**
 * For each place of an array of shape `dims`, in order: Σ index[axis] * strides[axis].
 * A stride of 0 repeats an axis, which is what broadcasting is.
 */
export function offsets(dims: Dims, strides: readonly number[]): Int32Array {
  const result = new Int32Array(count(dims));
  const own = stridesOf(dims);
  for (let at = 0; at < result.length; at++) {
    let offset = 0;
    for (let axis = 0; axis < dims.length; axis++) {
      offset += (Math.floor(at / own[axis]!) % dims[axis]!) * strides[axis]!;
    }
    result[at] = offset;
  }
  return result;
}

/** Where each place of the broadcast shape `to` is found in an array of shape `from`. */
export function broadcastOffsets(from: Dims, to: Dims): Int32Array {
  const own = stridesOf(from);
  const missing = to.length - from.length;
  return offsets(
    to,
    to.map((_, axis) => (axis < missing || from[axis - missing] === 1 ? 0 : own[axis - missing]!)),
  );
}
