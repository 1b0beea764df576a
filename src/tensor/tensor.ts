/** @file Typed n-dimensional arrays: row-major, dense, plain data. */

import {
  allocate,
  bf16ToNumber,
  type DType,
  f16ToNumber,
  halfToFloat32,
  numberToBf16,
  numberToF16,
  type TensorData,
} from "./dtype.js";
import { failure } from "./errors.js";

export type Dims = readonly number[];

/** Number of elements of a shape. */
export function count(dims: Dims): number {
  return dims.reduce((product, size) => product * size, 1);
}

/** Writes a shape as people do: "[1, 4, 64, 64]". */
export function formatDims(dims: Dims): string {
  return `[${dims.join(", ")}]`;
}

/** A dense row-major array. `data` of f16 and bf16 holds their 16 bits. */
export class Tensor {
  constructor(
    readonly dtype: DType,
    readonly dims: Dims,
    readonly data: TensorData,
  ) {
    if (data.length !== count(dims)) {
      throw failure(
        "SHAPE",
        `A tensor ${formatDims(dims)} needs ${count(dims)} numbers, not ${data.length}.`,
      );
    }
  }

  /** An f32 tensor over `data` (not copied), or of zeros. */
  static f32(dims: Dims, data: Float32Array | readonly number[] = new Float32Array(count(dims))): Tensor {
    return new Tensor("f32", dims, data instanceof Float32Array ? data : Float32Array.from(data));
  }

  /** An i64 tensor from ordinary numbers, as token ids are. */
  static i64(dims: Dims, data: ArrayLike<number>): Tensor {
    return new Tensor(
      "i64",
      dims,
      BigInt64Array.from(Array.from(data), (value) => BigInt(value)),
    );
  }

  get size(): number {
    return this.data.length;
  }

  /** The numbers as Float32Array: the data itself when it is f32 already, else a converted copy. */
  toFloat32(): Float32Array {
    return this.data instanceof Float32Array ? this.data : (this.to("f32").data as Float32Array);
  }

  /** The same numbers in another element type (f16 and bf16 round to nearest even). */
  to(dtype: DType): Tensor {
    if (dtype === this.dtype) return this;
    if (dtype === "f32" && (this.dtype === "f16" || this.dtype === "bf16")) {
      return new Tensor(dtype, this.dims, halfToFloat32(this.dtype, this.data as Uint16Array));
    }
    const read = reader(this.dtype, this.data);
    const data = allocate(dtype, this.size);
    const write = writer(dtype, data);
    for (let i = 0; i < this.size; i++) write(i, read(i));
    return new Tensor(dtype, this.dims, data);
  }

  /** The same data under another shape; one size may be -1. */
  reshape(dims: Dims): Tensor {
    const known = dims.filter((size) => size !== -1);
    const full = dims.map((size) => (size === -1 ? this.size / count(known) : size));
    return new Tensor(this.dtype, full, this.data);
  }

  /** Nested arrays of ordinary numbers. */
  toArray(): unknown {
    const read = reader(this.dtype, this.data);
    let at = 0;
    const nest = (axis: number): unknown =>
      axis === this.dims.length ? read(at++) : Array.from({ length: this.dims[axis]! }, () => nest(axis + 1));
    return nest(0);
  }
}

function reader(dtype: DType, data: TensorData): (index: number) => number {
  if (dtype === "f16") return (i) => f16ToNumber(data[i] as number);
  if (dtype === "bf16") return (i) => bf16ToNumber(data[i] as number);
  return (i) => Number(data[i]);
}

function writer(dtype: DType, data: TensorData): (index: number, value: number) => void {
  if (dtype === "f16") return (i, value) => void (data[i] = numberToF16(value));
  if (dtype === "bf16") return (i, value) => void (data[i] = numberToBf16(value));
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    return (i, value) => void (data[i] = BigInt(Math.trunc(value)));
  }
  return (i, value) => void (data[i] = value);
}
