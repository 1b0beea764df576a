/** @file Which algorithm computes what: a fixed table of shapes, never timing at run time. */

import { isOp, type Value } from "../value.js";

/** The runtime's own kernel, or Winograd's F(m x m, 3 x 3) with its products over tiles or channels first. */
export type ConvolutionAlgorithm = "direct" | { m: 2 | 4; order: "tiles" | "channels" };

/** Chooses the algorithm of a convolution by its shape. */
export interface Kernels {
  convolution(value: Value<"conv2d">): ConvolutionAlgorithm;
}

/** The runtime's own kernels, weights as they lie in the file. */
export const plainKernels: Kernels = { convolution: () => "direct" };

/** Whether Winograd can compute it: 3x3, stride 1, weights known beforehand. */
export function fitsWinograd(value: Value<"conv2d">): boolean {
  const weight = value.inputs[1]!;
  const { stride } = value.attributes;
  return isOp(weight, "parameter") && stride === 1 && weight.dims[2] === 3 && weight.dims[3] === 3;
}

/**
 * The fastest by measurement (docs/speed.md): F(4x4) where channels are few and the grid is wide; F(2x2), with weights
 * that grow less, where the grid is narrow; direct where the transforms would cost more than they save.
 */
export const fastKernels: Kernels = {
  convolution(value) {
    if (!fitsWinograd(value)) return "direct";
    const [filters, channels] = value.inputs[1]!.dims as [number, number, number, number];
    const cells = value.dims[2]! * value.dims[3]!;
    if (channels < 64 || filters < 64) return "direct";
    if (cells > 128 * 128) return "direct";
    if (cells > 32 * 32) return { m: 4, order: "tiles" };
    return cells > 16 * 16 ? { m: 4, order: "channels" } : { m: 2, order: "channels" };
  },
};
