/** @file Arithmetic on whole f32 tensors of one shape, outside the graph. */

import { Tensor } from "../tensor/index.js";

/** Elementwise, in double precision, rounded once. */
export function zip(f: (...values: number[]) => number, first: Tensor, ...rest: Tensor[]): Tensor {
  const sources = [first, ...rest].map((tensor) => tensor.toFloat32());
  const data = new Float32Array(first.size);
  const values = new Array<number>(sources.length);
  for (let i = 0; i < data.length; i++) {
    for (let j = 0; j < sources.length; j++) values[j] = sources[j]![i]!;
    data[i] = f(...values);
  }
  return Tensor.f32(first.dims, data);
}

/** The mean of several tensors; of one it is that one. */
export function average(tensors: readonly Tensor[]): Tensor {
  if (tensors.length === 1) return tensors[0]!;
  const sums = new Float64Array(tensors[0]!.size);
  for (const tensor of tensors) {
    const data = tensor.toFloat32();
    for (let i = 0; i < sums.length; i++) sums[i]! += data[i]!;
  }
  return Tensor.f32(
    tensors[0]!.dims,
    Float32Array.from(sums, (sum) => sum / tensors.length),
  );
}

/** f_u + s (f_c - f_u) */
export function guide(unconditional: Tensor, conditional: Tensor, scale: number): Tensor {
  const u = unconditional.toFloat32();
  const c = conditional.toFloat32();
  const data = new Float32Array(u.length);
  for (let i = 0; i < data.length; i++) data[i] = u[i]! + scale * (c[i]! - u[i]!);
  return Tensor.f32(unconditional.dims, data);
}

/** f_c - f_u */
export function difference(conditional: Tensor, unconditional: Tensor): Tensor {
  const u = unconditional.toFloat32();
  return Tensor.f32(
    unconditional.dims,
    conditional.toFloat32().map((c, i) => c - u[i]!),
  );
}
