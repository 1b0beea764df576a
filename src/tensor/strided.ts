/** @file Bringing strided views into row-major order. */

import { allocate, type DType, type TensorData } from "./dtype.js";
import { count, type Dims, Tensor } from "./tensor.js";

/**
 * Copies a view out of a buffer: element [i, j, ...] is data[offset + i * strides[0] + j * strides[1] + ...].
 * @param strides in elements, one an axis; the caller has made sure that every element lies in `data`
 */
export function fromStrides(
  dtype: DType,
  data: TensorData,
  dims: Dims,
  strides: readonly number[],
  offset = 0,
): Tensor {
  const out = allocate(dtype, count(dims));
  const index = dims.map(() => 0);
  let from = offset;
  for (let to = 0; to < out.length; to++) {
    out[to] = data[from]!;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < dims[axis]!) break;
      from -= strides[axis]! * dims[axis]!;
      index[axis] = 0;
    }
  }
  return new Tensor(dtype, dims, out);
}
