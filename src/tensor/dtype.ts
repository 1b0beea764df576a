/** @file Element types, named as in safetensors headers (lower case), with their sizes and typed arrays. */

import { failure } from "./errors.js";

export type DType =
  | "f32"
  | "f64"
  | "f16"
  | "bf16"
  | "i64"
  | "i32"
  | "i16"
  | "i8"
  | "u8"
  | "u16"
  | "u32"
  | "u64"
  | "bool";

export type TensorData =
  | Float32Array
  | Float64Array
  | Uint16Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array
  | Uint32Array;

interface DTypeInfo {
  bytes: number;
  // biome-ignore lint/suspicious/noExplicitAny: the constructors of typed arrays share no useful supertype
  array: any;
}

const table: Record<DType, DTypeInfo> = {
  f32: { bytes: 4, array: Float32Array },
  f64: { bytes: 8, array: Float64Array },
  f16: { bytes: 2, array: Uint16Array },
  bf16: { bytes: 2, array: Uint16Array },
  i64: { bytes: 8, array: BigInt64Array },
  i32: { bytes: 4, array: Int32Array },
  i16: { bytes: 2, array: Int16Array },
  i8: { bytes: 1, array: Int8Array },
  u8: { bytes: 1, array: Uint8Array },
  u16: { bytes: 2, array: Uint16Array },
  u32: { bytes: 4, array: Uint32Array },
  u64: { bytes: 8, array: BigUint64Array },
  bool: { bytes: 1, array: Uint8Array },
};

export const dtypes = Object.keys(table) as DType[];

/** Bytes of one element. */
export function byteSize(dtype: DType): number {
  return table[dtype].bytes;
}

/** Allocates `count` zeros; f16 and bf16 are kept as their 16 bits in a Uint16Array. */
export function allocate(dtype: DType, count: number): TensorData {
  try {
    return new table[dtype].array(count) as TensorData;
  } catch (cause) {
    throw failure("OUT_OF_MEMORY", `Not enough memory for ${count} numbers of ${dtype}.`, cause);
  }
}

/** Views little-endian bytes as elements, copying only when they are not aligned. */
export function viewBytes(dtype: DType, bytes: Uint8Array): TensorData {
  const { array, bytes: size } = table[dtype];
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new array(aligned.buffer, aligned.byteOffset, aligned.byteLength / size) as TensorData;
}

const scratch = new DataView(new ArrayBuffer(4));

/** One half-precision number from its 16 bits (IEEE 754 binary16). */
export function f16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The nearest half-precision number, ties to even, as its 16 bits. */
export function numberToF16(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal: let f64 arithmetic round to the grid of 2^-24, ties to even.
    const scaled = Math.abs(value) * 2 ** 24;
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    return sign | (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor);
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** One bfloat16 number from its 16 bits. */
export function bf16ToNumber(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

/** The nearest bfloat16, ties to even, as its 16 bits. */
export function numberToBf16(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  if ((bits & 0x7fffffff) > 0x7f800000) return ((bits >>> 16) | 0x40) & 0xffff;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** All 65,536 half-precision numbers, made on first use. */
const halfTables: Partial<Record<"f16" | "bf16", Float32Array>> = {};

/** Half-precision numbers as f32, by table. */
export function halfToFloat32(dtype: "f16" | "bf16", bits: Uint16Array): Float32Array {
  const table = (halfTables[dtype] ??= Float32Array.from({ length: 65536 }, (_, i) =>
    dtype === "f16" ? f16ToNumber(i) : bf16ToNumber(i),
  ));
  const result = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) result[i] = table[bits[i]!]!;
  return result;
}
