/** @file Convolutions in ONNX, by the algorithm that the table chooses. */

import type { Value } from "../value.js";
import { columns } from "./columns.js";
import type { Emitter } from "./emitter.js";
import { gatheredConvolution } from "./gathered.js";
import type { Kernels } from "./kernels.js";
import { winograd } from "./winograd.js";

export function convolution(
  value: Value<"conv2d">,
  names: readonly string[],
  to: Emitter,
  kernels: Kernels,
): string {
  const algorithm = kernels.convolution(value);
  if (algorithm === "gathered") return gatheredConvolution(value, names, to);
  if (algorithm === "columns") return columns(value, names, to);
  if (typeof algorithm === "object") return winograd(value, names, to, algorithm);
  const { stride, padding, groups } = value.attributes;
  const operands = algorithm === "padded" ? withFullChannels(value, names, to) : names;
  return to.emit("Conv", operands, {
    strides: [stride, stride],
    pads: padding,
    ...(groups > 1 && { group: groups }),
  });
}

/** The grid and the weights with channels of zeros added, to a multiple of four. */
function withFullChannels(value: Value<"conv2d">, names: readonly string[], to: Emitter): string[] {
  const channels = value.inputs[1]!.dims[1]!;
  const missing = Math.ceil(channels / 4) * 4 - channels;
  const [x, weight, ...bias] = names;
  const around = to.integers([0, 0, 0, 0, 0, missing, 0, 0]);
  return [to.emit("Pad", [x!, around]), to.emit("Pad", [weight!, around]), ...bias];
}
