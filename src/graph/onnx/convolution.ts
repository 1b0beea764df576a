/** @file Convolutions in ONNX. */

import type { Value } from "../value.js";
import type { Emitter } from "./emitter.js";
import type { Kernels } from "./kernels.js";

export function convolution(
  value: Value<"conv2d">,
  names: readonly string[],
  to: Emitter,
  _kernels: Kernels,
): string {
  const { stride, padding } = value.attributes;
  return to.emit("Conv", names, { strides: [stride, stride], pads: padding });
}
