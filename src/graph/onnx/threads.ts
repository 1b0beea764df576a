/**
 * @file Where the CPU's kernels would add in an order that depends on the number of threads. MLAS cuts the columns of a
 * product (the cells of a convolution's grid) among the threads in steps of 16, and adds blocks of 128 terms, or longer
 * ones where a thread's share is 64 columns or fewer.
 * @see https://github.com/microsoft/onnxruntime/tree/v1.30.0/onnxruntime/core/mlas/lib (sgemm.cpp, convolve.cpp)
 */

import { count } from "../../tensor/index.js";
import { isOp, type Value } from "../value.js";

/** With up to so many threads, bits do not depend on their number when weights are computed with in place. */
export const steadyThreads = 8;

const step = 16;
const block = 128;
const narrow = 64;

/** Whether rows x terms by terms x columns depends on the number of threads; where rows are more, they are cut. */
export function productVaries(rows: number, terms: number, columns: number): boolean {
  return terms > block && columns > rows && columns < (narrow / step + 1) * step * steadyThreads;
}

/** Whether a matrix product, or a linear layer whose weights are not packed beforehand, depends on the threads. */
export function varies(value: Value<"linear" | "matmul">): boolean {
  const { inputs, dims } = value;
  const columns = dims.at(-1)!;
  if (!isOp(value, "matmul")) return productVaries(count(dims) / columns, inputs[0]!.dims.at(-1)!, columns);
  const terms = inputs[0]!.dims.at(value.attributes.transposeA ? -2 : -1)!;
  return productVaries(dims.at(-2)!, terms, columns);
}

/** Whether an attention by two products and a softmax depends on the threads; heads are cut before columns. */
export function attentionVaries({ inputs, attributes: { heads } }: Value<"attention">): boolean {
  const [batch, queries, channels] = inputs[0]!.dims as [number, number, number];
  const [, keys, channelsV] = inputs[2]!.dims as [number, number, number];
  if (batch * heads >= steadyThreads) return false;
  const [width, widthV] = [channels / heads, channelsV / heads];
  return productVaries(queries, width, keys) || productVaries(queries, keys, widthV);
}

/** Whether a convolution whose weights are not packed beforehand depends on the number of threads. */
export function convolutionVaries({ inputs, attributes, dims }: Value<"conv2d">): boolean {
  const [allFilters, channels, kernelHeight, kernelWidth] = inputs[1]!.dims as [
    number,
    number,
    number,
    number,
  ];
  const filters = allFilters / attributes.groups;
  const cells = dims[2]! * dims[3]!;
  const terms = channels * kernelHeight * kernelWidth;
  const pointwise = kernelHeight * kernelWidth * attributes.stride === 1;
  if (pointwise && attributes.padding.every((one) => one === 0)) return productVaries(filters, terms, cells);
  if (terms <= block || filters > cells) return false;
  for (let threads = 2; threads <= steadyThreads; threads++) {
    const share = Math.ceil(Math.ceil(cells / threads) / step) * step;
    const last = cells - share * (Math.ceil(cells / share) - 1);
    if (Math.min(share, last) <= narrow) return true;
  }
  return false;
}
