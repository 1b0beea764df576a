/** @file The gradients of convolutions in ONNX, by the algorithm that the table chooses. */

import type { Value } from "../value.js";
import type { Emitter } from "./emitter.js";
import {
  canLookBack,
  gatheredInputGradient,
  gatheredWeightGradient,
  gatheredWeightGradientBack,
} from "./gathered.js";
import type { Kernels } from "./kernels.js";

type Sizes = readonly [number, number, number, number];

export function inputGradient(
  value: Value<"conv2dInputGradient">,
  names: readonly string[],
  to: Emitter,
  { inputGradient: choose }: Kernels,
): string {
  const fits = canLookBack(value.attributes, value.inputs[1]!);
  if (fits && choose?.(value) === "gathered") return gatheredInputGradient(value, names, to);
  return transposedConvolution(value, names, to);
}

/** The runtime's own, which is made for this; what the strides left over is told to it. */
function transposedConvolution(
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

export function weightGradient(
  value: Value<"conv2dWeightGradient">,
  names: readonly string[],
  to: Emitter,
  { weightGradient: choose }: Kernels,
): string {
  if (value.attributes.groups > 1) return groupedWeightGradient(value, names, to);
  const back = canLookBack(value.attributes, value) && choose?.(value) === "back";
  return back ? gatheredWeightGradientBack(value, names, to) : gatheredWeightGradient(value, names, to);
}

/** Each group alone. */
function groupedWeightGradient(
  { dims, inputs, attributes }: Value<"conv2dWeightGradient">,
  [x, dy]: readonly string[],
  to: Emitter,
): string {
  const { groups } = attributes;
  const [filters, channels, ...kernel] = dims as Sizes;
  const own = [filters / groups, channels, ...kernel];
  const parts = Array.from({ length: groups }, (_, group) => {
    const part = (name: string, size: number) => to.slice(name, 1, group * size, (group + 1) * size);
    const [grid, results] = inputs as [Value, Value];
    const sources = [
      { ...grid, dims: grid.dims.with(1, channels) },
      { ...results, dims: results.dims.with(1, own[0]!) },
    ];
    const value: Value<"conv2dWeightGradient"> = {
      op: "conv2dWeightGradient",
      inputs: sources,
      attributes: { ...attributes, groups: 1 },
      dims: own,
      dtype: "f32",
    };
    return gatheredWeightGradient(value, [part(x!, channels), part(dy!, own[0]!)], to);
  });
  return to.emit("Concat", parts, { axis: 0 });
}
