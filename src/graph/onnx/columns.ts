/** @file A convolution as one product over the columns of its grid ("im2col"). */

import type { Value } from "../value.js";
import type { Emitter } from "./emitter.js";

/** Emits a convolution whose bits do not depend on the number of threads, however small the grid is. */
export function columns(value: Value<"conv2d">, [x, weight, bias]: readonly string[], to: Emitter): string {
  const { stride, padding, groups } = value.attributes;
  const [batch, channels] = value.inputs[0]!.dims as [number, number, number, number];
  const [, , kernelHeight, kernelWidth] = value.inputs[1]!.dims as [number, number, number, number];
  const [, filters, down, across] = value.dims as [number, number, number, number];
  const [top, left, bottom, right] = padding;

  // 1. The grid as each place of the kernel sees it: [B, C, kh * kw, cells], in the order of the weights
  const around = [0, 0, top, left, 0, 0, bottom, right];
  const padded = padding.some((cells) => cells > 0) ? to.emit("Pad", [x!, to.integers(around)]) : x!;
  const seen: string[] = [];
  for (let u = 0; u < kernelHeight; u++) {
    for (let v = 0; v < kernelWidth; v++) {
      const ends = [u + (down - 1) * stride + 1, v + (across - 1) * stride + 1];
      const range = [[u, v], ends, [2, 3], [stride, stride]].map((one) => to.integers(one));
      seen.push(to.reshape(to.emit("Slice", [padded, ...range]), [batch, channels, 1, down * across]));
    }
  }
  const terms = (channels / groups) * kernelHeight * kernelWidth;
  const joined = seen.length === 1 ? seen[0]! : to.emit("Concat", seen, { axis: 2 });
  const grouped = groups === 1 ? [] : [groups];
  const cells = to.reshape(joined, [batch, ...grouped, terms, down * across]);

  // 2. [B, cells, C'], then channels first
  const matrix = to.reshape(weight!, [...grouped, filters / groups, terms]);
  const product = to.emit(
    "FusedMatMul",
    [cells, matrix],
    { transA: 1, transB: 1 },
    { domain: "com.microsoft" },
  );
  const result = to.reshape(to.transpose(product, groups === 1 ? [0, 2, 1] : [0, 1, 3, 2]), value.dims);
  return bias ? to.emit("Add", [result, to.reshape(bias, [filters, 1, 1])]) : result;
}
