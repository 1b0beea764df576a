/** @file Arithmetic in f32, rounded after every operation as torch rounds it. */

import { formatDims, misuse, Tensor } from "../../tensor/index.js";

export const f32 = Math.fround;

/** c1 x1 + c2 x2 + ..., every product and every sum rounded. */
export function combine(...terms: readonly (readonly [factor: number, tensor: Tensor])[]): Tensor {
  const { dims, size } = terms[0]![1];
  const sum = new Float32Array(size);
  terms.forEach(([factor, tensor], term) => {
    if (tensor.dims.join() !== dims.join()) {
      throw misuse("SHAPE", `Cannot combine tensors ${formatDims(dims)} and ${formatDims(tensor.dims)}.`);
    }
    const data = tensor.toFloat32();
    for (let i = 0; i < size; i++) sum[i] = term === 0 ? factor * data[i]! : sum[i]! + f32(factor * data[i]!);
  });
  return Tensor.f32(dims, sum);
}

export function divide(tensor: Tensor, divisor: number): Tensor {
  return Tensor.f32(
    tensor.dims,
    tensor.toFloat32().map((value) => value / divisor),
  );
}

export function clamp(tensor: Tensor, limit: number): Tensor {
  return Tensor.f32(
    tensor.dims,
    tensor.toFloat32().map((value) => Math.min(Math.max(value, -limit), limit)),
  );
}
