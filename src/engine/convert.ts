/** @file Tensors of diffsight to those of ONNX Runtime and back. */

import type * as ort from "onnxruntime-common";
import { allocate, type DType, failure, type Tensor } from "../tensor/index.js";

const toOrtType: Partial<Record<DType, ort.Tensor.Type>> = {
  f32: "float32",
  f16: "float16",
  f64: "float64",
  i64: "int64",
  i32: "int32",
  i16: "int16",
  i8: "int8",
  u8: "uint8",
  u16: "uint16",
  u32: "uint32",
  u64: "uint64",
  bool: "bool",
};

const fromOrtType = Object.fromEntries(
  Object.entries(toOrtType).map(([ours, theirs]) => [theirs, ours]),
) as Record<ort.Tensor.Type, DType>;

/** Plain data of a tensor, as it arrives from another process (where classes are lost). */
export type PlainTensor = Pick<Tensor, "dtype" | "dims" | "data">;

export function toOrt(Type: typeof ort.Tensor, { dtype, dims, data }: PlainTensor): ort.Tensor {
  const type = toOrtType[dtype];
  if (!type) throw failure("DTYPE", `A tensor of ${dtype} cannot be given to a graph.`);
  return new Type(type, data as Float32Array, dims);
}

export function fromOrt(tensor: ort.Tensor): PlainTensor {
  const dtype = fromOrtType[tensor.type];
  const data = tensor.size === 0 ? allocate(dtype, 0) : (tensor.data as Float32Array);
  return { dtype, dims: tensor.dims, data };
}
