/** @file The graph room's door. */

export * from "./cost.js";
export * from "./onnx/encode.js";
export {
  type ConvolutionAlgorithm,
  fastKernels,
  fitsWinograd,
  type Kernels,
  plainKernels,
} from "./onnx/kernels.js";
export * from "./ops.js";
export * from "./value.js";
