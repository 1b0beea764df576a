/** @file The gradients of convolutions in ONNX. */

import type { Value } from "../value.js";
import type { Emitter } from "./emitter.js";

type Sizes = readonly [number, number, number, number];

/** The transposed convolution, which is made for this; what the strides left over is told to it. */
export function inputGradient(
  { dims, inputs, attributes: { stride, padding, groups } }: Value<"conv2dInputGradient">,
  [dy, weight]: readonly string[],
  to: Emitter,
): string {
  const [results, kernel] = [inputs[0]!.dims, inputs[1]!.dims];
  const left = [2, 3].map((axis) => {
    const around = padding[axis - 2]! + padding[axis]!;
    return dims[axis]! + around - (results[axis]! - 1) * stride - kernel[axis]!;
  });
  return to.emit("ConvTranspose", [dy!, weight!], {
    strides: [stride, stride],
    pads: padding,
    output_padding: left,
    group: groups,
  });
}

/** One product of the results' gradient with what each place of the kernel saw, channels last. */
export function weightGradient(
  { dims, inputs, attributes: { stride, padding, groups } }: Value<"conv2dWeightGradient">,
  [x, dy]: readonly string[],
  to: Emitter,
): string {
  const [batch, channels] = inputs[0]!.dims as Sizes;
  const [, filters, down, across] = inputs[1]!.dims as Sizes;
  const [, inner, kernelHeight, kernelWidth] = dims as Sizes;
  const [top, left, bottom, right] = padding;
  const cells = batch * down * across;

  // 1. What each place of the kernel sees: [cells, kh * kw * C]
  const last = to.transpose(x!, [0, 2, 3, 1]);
  const around = to.integers([0, top, left, 0, 0, bottom, right, 0]);
  const padded = padding.some((one) => one > 0) ? to.emit("Pad", [last, around]) : last;
  const seen: string[] = [];
  for (let u = 0; u < kernelHeight; u++) {
    for (let v = 0; v < kernelWidth; v++) {
      const ends = [u + (down - 1) * stride + 1, v + (across - 1) * stride + 1];
      const range = [[u, v], ends, [1, 2], [stride, stride]].map((one) => to.integers(one));
      seen.push(to.emit("Slice", [padded, ...range]));
    }
  }
  const joined = seen.length === 1 ? seen[0]! : to.emit("Concat", seen, { axis: 3 });

  // 2. [C', kh * kw * C], then channels before the kernel's places
  const places = kernelHeight * kernelWidth;
  const last2 = to.reshape(to.transpose(dy!, [0, 2, 3, 1]), [cells, filters]);
  if (groups === 1) {
    const product = to.emit("Gemm", [last2, to.reshape(joined, [cells, places * channels])], { transA: 1 });
    const apart = to.reshape(product, [filters, kernelHeight, kernelWidth, inner]);
    return to.transpose(apart, [0, 3, 1, 2]);
  }
  const columns = to.transpose(to.reshape(joined, [cells, places, groups, inner]), [2, 0, 1, 3]);
  const product = to.emit(
    "FusedMatMul",
    [
      to.transpose(to.reshape(last2, [cells, groups, filters / groups]), [1, 0, 2]),
      to.reshape(columns, [groups, cells, places * inner]),
    ],
    { transA: 1 },
    { domain: "com.microsoft" },
  );
  const apart = to.reshape(product, [filters, kernelHeight, kernelWidth, inner]);
  return to.transpose(apart, [0, 3, 1, 2]);
}
