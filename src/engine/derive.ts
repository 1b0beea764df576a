/** @file Computes derived weights where a session is made. */

import { type DerivedPart, winogradWeights } from "../graph/index.js";
import { Tensor, viewBytes } from "../tensor/index.js";

/** The derived tensor of a part, from the bytes of its parameter. */
export function derivePart({ stored, recipe }: DerivedPart, bytes: Uint8Array): Float32Array {
  const data = viewBytes(stored, bytes);
  return winogradWeights(new Tensor(stored, [data.length], data).toFloat32(), recipe);
}
