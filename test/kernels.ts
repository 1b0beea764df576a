/** @file The algorithms that the table can choose, each forced on every convolution that it fits, and its tolerance. */

import type { EngineOptions } from "../src/engine/index.js";

export const algorithms: { name: string; options: EngineOptions; times: number }[] = [
  { name: "direct kernels, fast", options: { memory: "fast" }, times: 1 },
  { name: "direct kernels, mmap", options: { memory: "mmap" }, times: 1 },
  { name: "direct kernels, low", options: { memory: "low" }, times: 1 },
];
