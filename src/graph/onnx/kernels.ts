/** @file Which algorithm computes what: a fixed table of shapes, never timing at run time. */

import type { Value } from "../value.js";

export type ConvolutionAlgorithm = "direct" | "winograd2" | "winograd4";

/** Chooses the algorithm of a convolution by its shape. */
export interface Kernels {
  convolution(value: Value<"conv2d">): ConvolutionAlgorithm;
}

/** The runtime's own kernels, weights as they lie in the file. */
export const plainKernels: Kernels = { convolution: () => "direct" };
