/** @file Convolutions in ONNX, by the algorithm that the table chooses. */

import type { Value } from "../value.js";
import type { Emitter } from "./emitter.js";
import type { Kernels } from "./kernels.js";
import { winograd } from "./winograd.js";

export function convolution(
  value: Value<"conv2d">,
  names: readonly string[],
  to: Emitter,
  kernels: Kernels,
): string {
  const algorithm = kernels.convolution(value);
  if (algorithm !== "direct") return winograd(value, names, to, algorithm);
  const { stride, padding } = value.attributes;
  return to.emit("Conv", names, { strides: [stride, stride], pads: padding });
}
