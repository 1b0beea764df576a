/** @file Which algorithm computes what: a fixed table of shapes, never timing at run time. */

import type { Dims } from "../../tensor/index.js";
import { isOp, type Value } from "../value.js";
import { attentionVaries, convolutionVaries, varies } from "./threads.js";
import type { WinogradPlan } from "./winograd.js";

/**
 * The runtime's own kernel, as it is or with channels added; one product over the grid's columns, or over the rows that
 * the whole batch gathers; Winograd's.
 */
export type ConvolutionAlgorithm = "direct" | "padded" | "columns" | "gathered" | WinogradPlan;

/** One kernel that never writes its scores, or products with a softmax between, whose result gradients may use. */
export type AttentionAlgorithm = "fused" | "explicit" | "kept";

/** Chooses algorithms by shape. */
export interface Kernels {
  convolution(value: Value<"conv2d">): ConvolutionAlgorithm;
  attention(value: Value<"attention">): AttentionAlgorithm;
  /** Of a convolution's grid: the runtime's transposed convolution, its convolution, or a product over gathered rows. */
  inputGradient?(value: Value<"conv2dInputGradient">): "transposed" | "turned" | "gathered";
  /**
   * Of a convolution's weights: a product over rows that the results' cells saw of the grid, or the grid's cells see of
   * the results' gradient; or over both, moved.
   */
  weightGradient?(value: Value<"conv2dWeightGradient">): "forward" | "back" | "split";
  /** Writes equal nodes once, for runtimes that are told to change nothing. */
  merges?: boolean;
  /** Whether a product is computed as the transpose of (bᵀ aᵀ). */
  turn?(value: Value<"linear" | "matmul">): boolean;
  /** Whether products read matrices whose heads lie side by side as they are; else these are moved apart first. */
  readsHeads?: boolean;
  /** Casts a table of half precision as a whole, not the rows that are taken: not every graphics card knows f16. */
  castTables?: boolean;
  /** For WebGPU, whose normalisations lose the digits that a large mean covers, and take each other's epsilon. */
  guardedNorms?: boolean;
}

/** The runtime's own kernels on every device, weights as they lie in the file. */
export const plainKernels: Kernels = { convolution: () => "direct", attention: () => "fused" };

/**
 * WebGPU's convolution misreads channels in threes where the filters come in fours.
 * @see https://github.com/microsoft/onnxruntime/issues/29651
 */
function misread({ inputs }: Value<"conv2d">): boolean {
  const [filters, channels] = inputs[1]!.dims as [number, number, number, number];
  return filters % 4 === 0 && channels % 3 === 0 && channels % 4 !== 0 && channels > 3;
}

export const webgpuKernels: Kernels = {
  convolution: (value) => (misread(value) ? "padded" : "direct"),
  attention: () => "fused",
  guardedNorms: true,
  castTables: true,
};

/** For a graphics card whose fused attention is wrong. */
export const unfusedKernels: Kernels = { ...webgpuKernels, attention: () => "explicit" };

/** Scores of this many bytes are not written at once. */
const scoreBytes = 2 ** 28;

/** On CPU the fused kernel loses where there are few keys, and for heads as wide as the VAE's. */
function cpuAttention(value: Value<"attention">): AttentionAlgorithm {
  if (attentionVaries(value)) return "fused";
  const { heads, causal } = value.attributes;
  const [, queries, channels] = value.inputs[0]!.dims as [number, number, number];
  const keys = value.inputs[1]!.dims[1]!;
  const small = keys <= 256 || channels / heads > 128;
  return small && !causal && 4 * heads * queries * keys <= scoreBytes ? "explicit" : "fused";
}

/** For CPU with weights in place, where the runtime does not pack them beforehand. */
export const cpuKernels: Kernels = {
  convolution: (value) => (convolutionVaries(value) ? "columns" : "direct"),
  attention: cpuAttention,
  turn: varies,
  readsHeads: true,
};

/** Whether the runtime reorders the weights when a session is made; its kernel for them cuts no sums. */
function isPacked({ inputs }: Value<"conv2d">): boolean {
  const [filters, channels] = inputs[1]!.dims as [number, number, number, number];
  return isOp(inputs[1]!, "parameter") && filters % 16 === 0 && channels % 16 === 0;
}

/** Whether Winograd can compute it: 3x3, stride 1, weights known beforehand. */
export function fitsWinograd(value: Value<"conv2d">): boolean {
  const weight = value.inputs[1]!;
  const { stride, groups } = value.attributes;
  return isOp(weight, "parameter") && stride * groups === 1 && weight.dims[2] === 3 && weight.dims[3] === 3;
}

/**
 * The fastest on CPU by measurement (docs/speed.md): F(4x4), its products over tiles where the grid is wide and over
 * channels where it is narrow; F(2x2), whose weights grow less, where the weights are the larger part; bands where a
 * wide grid with few channels would leave the cache.
 */
export const fastKernels: Kernels = {
  convolution(value) {
    const [filters, channels] = value.inputs[1]!.dims as [number, number, number, number];
    const wide = Math.max(filters, channels);
    if (!fitsWinograd(value) || Math.min(filters, channels) < 64) {
      return isPacked(value) || !convolutionVaries(value) ? "direct" : "columns";
    }
    const down = Math.ceil(value.dims[2]! / 4);
    const across = Math.ceil(value.dims[3]! / 4);
    const tiles = down * across;
    if (tiles <= 16) return { m: 2, order: "channels" };
    if (tiles < 128) return { m: 4, order: "channels" };
    const cached = wide <= 128 ? 128 : wide <= 256 ? 256 : 1024;
    const band = wide >= 320 && tiles <= 1024 ? down : Math.max(1, Math.round(cached / across));
    return { m: 4, order: "tiles", ...(band < down && { band }) };
  },
  attention: cpuAttention,
  turn: (value) => isOp(value, "matmul") && varies(value),
  readsHeads: true,
};

/** Grids so small that one product of a whole batch is faster than a convolution of each picture. */
const smallGrid = 64;

/** Up to so many cells gradients are products too, where what they gather is the narrower side. */
const middleGrid = 256;

/** Which gradients of a convolution gather what its grid's cells see of the results' gradient. */
function gathersBack(grid: Dims, weight: Dims): boolean {
  const cells = grid[2]! * grid[3]!;
  return cells <= middleGrid && weight[0]! <= weight[1]!;
}

/**
 * For training on CPU, in sessions of one thread: weights change with each step, so that nothing about them is known
 * beforehand. By measurement of whole steps of small networks.
 */
export const trainingKernels: Kernels = {
  convolution({ attributes, dims }) {
    return attributes.groups === 1 && dims[2]! * dims[3]! <= smallGrid ? "gathered" : "direct";
  },
  inputGradient({ dims, inputs }) {
    const isSmall = dims[2]! * dims[3]! <= smallGrid;
    return isSmall || gathersBack(dims, inputs[1]!.dims) ? "gathered" : "turned";
  },
  weightGradient({ dims, inputs }) {
    const grid = inputs[0]!.dims;
    if (gathersBack(grid, dims)) return "back";
    return grid[2]! * grid[3]! <= smallGrid ? "forward" : "split";
  },
  attention: () => "kept",
  turn: varies,
  merges: true,
};
