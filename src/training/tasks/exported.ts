/** @file Trained weights as files of diffusers and transformers. */

import { encodeSafetensors, type Tensor } from "../../tensor/index.js";
import type { Weights } from "../task.js";

/** A config or another JSON file, as Python's libraries write them. */
export function jsonFile(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** Fields of transformers' configs that hold floats, which its checks take no whole number for. */
const floats =
  /^( *"[a-z_]*(?:dropout|drop|eps|initializer_range|initializer_factor|theta|factor|mscale|scale_init_value|beta_fast|beta_slow|layerscale_value|_rate)": -?\d+)(?=,?$)/gm;

/** A config.json for transformers: 1 is spelt 1.0 where Python has a float. */
export function configFile(value: unknown): string {
  return jsonFile(value).replace(floats, "$1.0");
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
