/** @file Trained weights as files of diffusers and transformers. */

import { encodeSafetensors, type Tensor } from "../../tensor/index.js";
import type { Weights } from "../task.js";

/** A config or another JSON file, as Python's libraries write them. */
export function jsonFile(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** The weights below one prefix, without it; all with no prefix. */
export function below(weights: Weights, prefix?: string): Map<string, Tensor> {
  if (prefix === undefined) return new Map(weights);
  const start = `${prefix}.`;
  const within = [...weights].filter(([key]) => key.startsWith(start));
  return new Map(within.map(([key, tensor]) => [key.slice(start.length), tensor]));
}

/** The same weights with a prefix before each key. */
export function under(prefix: string, weights: Weights): [string, Tensor][] {
  return [...weights].map(([key, tensor]) => [`${prefix}.${key}`, tensor]);
}

export function weightsFile(weights: Weights, dtype: "f32" | "f16"): Uint8Array {
  return encodeSafetensors(
    [...weights].map(([key, tensor]) => [key, tensor.to(dtype)] as const),
    { format: "pt" },
  );
}
