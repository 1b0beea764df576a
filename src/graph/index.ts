/** @file The graph room's door. */

export * from "./cost.js";
export { type GradientOptions, gradients } from "./gradients/gradients.js";
export * from "./gradients/operations.js";
export * from "./language.js";
export { encodeForAnySize, type GraphWriter } from "./onnx/any-size.js";
export type { DerivedPart } from "./onnx/emitter.js";
export * from "./onnx/encode.js";
export {
  type AttentionAlgorithm,
  type ConvolutionAlgorithm,
  cpuKernels,
  fastKernels,
  fitsWinograd,
  type Kernels,
  plainKernels,
  trainingKernels,
  unfusedKernels,
  webgpuKernels,
} from "./onnx/kernels.js";
export type { OpenDims } from "./onnx/proto.js";
export { steadyThreads } from "./onnx/threads.js";
export { winogradWeights } from "./onnx/winograd.js";
export * from "./ops.js";
export * from "./value.js";
