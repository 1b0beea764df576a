/** @file The gradients of convolutions in ONNX, by the algorithm that the table chooses. */

import type { Padding, Value } from "../value.js";
import type { Emitter } from "./emitter.js";
import {
  canLookBack,
  gatheredInputGradient,
  gatheredWeightGradient,
  gatheredWeightGradientBack,
} from "./gathered.js";
import type { Kernels } from "./kernels.js";
import { product } from "./product.js";

type Sizes = readonly [number, number, number, number];

export function inputGradient(
  value: Value<"conv2dInputGradient">,
  names: readonly string[],
  to: Emitter,
  { inputGradient: choose }: Kernels,
): string {
  const algorithm = canLookBack(value.attributes, value.inputs[1]!) ? choose?.(value) : undefined;
  if (algorithm === "gathered") return gatheredInputGradient(value, names, to);
  return algorithm === "turned"
    ? turnedConvolution(value, names, to)
    : transposedConvolution(value, names, to);
}

/** A convolution of the results' gradient with the weights turned around. */
function turnedConvolution(
  { inputs, attributes: { padding } }: Value<"conv2dInputGradient">,
  [dy, weight]: readonly string[],
  to: Emitter,
): string {
  const [filters, channels, ...kernel] = inputs[1]!.dims as Sizes;
  const places = kernel[0] * kernel[1];
  const backwards = Array.from({ length: places }, (_, i) => places - 1 - i);
  const apart = to.reshape(weight!, [filters, channels, places]);
  const turned = to.emit("Gather", [apart, to.integers(backwards)], { axis: 2 });
  const swapped = to.reshape(to.transpose(turned, [1, 0, 2]), [channels, filters, ...kernel]);
  const around = padding.map((cells, i) => kernel[i % 2]! - 1 - cells);
  return to.emit("Conv", [dy!, swapped], { strides: [1, 1], pads: around });
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
  const algorithm = choose?.(value);
  if (algorithm === "split" && value.attributes.stride === 1) return splitWeightGradient(value, names, to);
  return algorithm === "back" && canLookBack(value.attributes, value)
    ? gatheredWeightGradientBack(value, names, to)
    : gatheredWeightGradient(value, names, to);
}

/**
 * One product, channels first, in which the grid has moved by each column of the kernel and the results' gradient by each
 * row: kh + kw copies instead of kh kw, which counts where grids are large.
 */
function splitWeightGradient(
  { dims, inputs, attributes: { padding } }: Value<"conv2dWeightGradient">,
  [x, dy]: readonly string[],
  to: Emitter,
): string {
  const [filters, channels, kernelHeight, kernelWidth] = dims as Sizes;
  const [batch, , height] = inputs[0]!.dims as Sizes;
  const [, , , across] = inputs[1]!.dims as Sizes;
  const [top, left, bottom, right] = padding as Padding;
  const rows = height + top + bottom;
  const terms = batch * rows * across;

  // 1. [kw C, terms]
  const byChannel = to.transpose(x!, [1, 0, 2, 3]);
  const around = to.integers([0, 0, top, left, 0, 0, bottom, right]);
  const padded = padding.some((cells) => cells > 0) ? to.emit("Pad", [byChannel, around]) : byChannel;
  const columns = Array.from({ length: kernelWidth }, (_, v) =>
    kernelWidth === 1 ? padded : to.slice(padded, 3, v, v + across),
  );
  const grid = to.reshape(joined(columns, to), [kernelWidth * channels, terms]);

  // 2. [kh C', terms]
  const byFilter = to.transpose(dy!, [1, 0, 2, 3]);
  const lowered = Array.from({ length: kernelHeight }, (_, u) =>
    kernelHeight === 1
      ? byFilter
      : to.emit("Pad", [byFilter, to.integers([0, 0, u, 0, 0, 0, kernelHeight - 1 - u, 0])]),
  );
  const slopes = to.reshape(joined(lowered, to), [kernelHeight * filters, terms]);

  // 3. [kh, C', kw, C]
  const sizes = { rows: kernelHeight * filters, terms, columns: kernelWidth * channels };
  const all = product({ name: slopes, transposed: false }, { name: grid, transposed: true }, sizes, to);
  const apart = to.reshape(all, [kernelHeight, filters, kernelWidth, channels]);
  return to.transpose(apart, [1, 3, 0, 2]);
}

function joined(parts: readonly string[], to: Emitter): string {
  return parts.length === 1 ? parts[0]! : to.emit("Concat", parts, { axis: 0 });
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
