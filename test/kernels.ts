/** @file The algorithms that the table can choose, each forced on every convolution that it fits, and its tolerance. */

import type { EngineOptions } from "../src/engine/index.js";
import {
  type AttentionAlgorithm,
  type ConvolutionAlgorithm,
  fitsWinograd,
  type Kernels,
} from "../src/graph/index.js";

function always(algorithm: ConvolutionAlgorithm, attention: AttentionAlgorithm = "explicit"): Kernels {
  return {
    convolution: (value) => (fitsWinograd(value) ? algorithm : "direct"),
    attention: (value) => (value.attributes.causal ? "fused" : attention),
  };
}

function winograd(m: 2 | 4, order: "tiles" | "channels", band?: number): EngineOptions {
  return { memory: "fast", kernels: always({ m, order, band }) };
}

export const algorithms: { name: string; options: EngineOptions; times: number }[] = [
  { name: "direct kernels, fast", options: { memory: "fast", kernels: always("direct", "fused") }, times: 1 },
  { name: "direct kernels, mmap", options: { memory: "mmap" }, times: 1 },
  { name: "direct kernels, low", options: { memory: "low" }, times: 1 },
  { name: "Winograd F(2x2), tiles first", options: winograd(2, "tiles"), times: 1 },
  { name: "Winograd F(2x2), channels first", options: winograd(2, "channels"), times: 1 },
  { name: "Winograd F(4x4), tiles first", options: winograd(4, "tiles"), times: 4 },
  { name: "Winograd F(4x4), tiles in bands", options: winograd(4, "tiles", 1), times: 4 },
  { name: "Winograd F(4x4), channels first", options: winograd(4, "channels"), times: 4 },
];
