/** @file The smallest graph that proves that a device computes. */

import { add, encodeGraph, input } from "../graph/index.js";

export function deviceProbeModel(): Uint8Array {
  const x = input("x", [1]);
  return encodeGraph({ y: add(x, x) }).model;
}
