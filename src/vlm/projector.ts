/** @file LLaVA's projectors: from a vision encoder's width to the language model's. */

import { z } from "zod";
import type { Value } from "../graph/index.js";
import { gelu, linear } from "../graph/index.js";
import { type Layout, LayoutBuilder } from "../models/index.js";
import { misuse } from "../tensor/index.js";
import type { Scope } from "../weights/index.js";

/**
 * `linear`; `mlp<n>x_gelu`: n linear layers with GELU (erf) between them; `identity`: for encoders of the right width.
 * The names are those of LLaVA's `mm_projector_type`.
 */
export interface ProjectorConfig {
  type: "linear" | "identity" | `mlp${number}x_gelu`;
  /** The encoder's width. */
  from: number;
  /** The language model's width. */
  to: number;
}

/** A projector's name in configs. */
export const projectorTypeSchema = z
  .string()
  .regex(
    /^(linear|identity|mlp[1-9]\d?x_gelu)$/,
    "linear, identity and mlp<n>x_gelu (as mlp2x_gelu) are known",
  );

/**
 * Reads a `mm_projector_type`.
 * @throws misuse PROJECTOR
 */
export function readProjectorType(name: string): ProjectorConfig["type"] {
  const { success, error } = projectorTypeSchema.safeParse(name);
  if (success) return name as ProjectorConfig["type"];
  throw misuse("PROJECTOR", `Unknown projector "${name}": ${error.issues[0]!.message}.`);
}

/** Each linear layer's place below `mm_projector` ("" when it is the projector itself), and its sizes. */
function projectorLayers({ type, from, to }: ProjectorConfig): { key: string; from: number; to: number }[] {
  if (type === "identity") {
    if (from === to) return [];
    throw misuse("PROJECTOR", `An identity projector cannot bring ${from} channels to ${to}.`);
  }
  if (type === "linear") return [{ key: "", from, to }];
  const depth = Number.parseInt(type.slice(3), 10);
  // As torch's Sequential counts them: every other place is an activation's.
  return Array.from({ length: depth }, (_, i) => ({ key: String(2 * i), from: i === 0 ? from : to, to }));
}

/**
 * x [..., from] -> [..., to]
 * @param w where the projector lies: `mm_projector`, with `0.weight`, `0.bias`, `2.weight` ... or `weight`, `bias`
 * @throws DiffsightError WEIGHT_MISSING, WEIGHT_SHAPE; misuse PROJECTOR
 */
export function projector(w: Scope, config: ProjectorConfig, x: Value): Value {
  return projectorLayers(config).reduce((h, { key, from, to }, i) => {
    const layer = key === "" ? w : w.at(key);
    return linear(i === 0 ? h : gelu(h), layer.parameter("weight", [to, from]), layer.optional("bias", [to]));
  }, x);
}

/**
 * A projector before training.
 * @param key where it will lie, such as `model.mm_projector`
 * @throws misuse PROJECTOR
 */
export function projectorLayout(key: string, config: ProjectorConfig): Layout {
  const layers = new LayoutBuilder();
  for (const layer of projectorLayers(config)) {
    layers.linear(layer.key === "" ? key : `${key}.${layer.key}`, layer.from, layer.to);
  }
  return layers.build();
}
