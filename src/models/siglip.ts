/** @file SigLIP's image encoder (transformers `SiglipVisionModel`). */

import { z } from "zod";
import { add, attention, expand, linear as project, reshape, split, type Value } from "../graph/index.js";
import type { Scope } from "../weights/index.js";
import { type ClipLayerConfig, clipLayer } from "./clip-layer.js";
import { only, readConfig, size, withDefault } from "./config.js";
import { activation, activationNames, layerNorm, linear } from "./layers.js";
import {
  embedPatches,
  type PatchConfig,
  patchGrid,
  readPatchConfig,
  resizePositions,
  visionFields,
} from "./patches.js";

const schema = z.looseObject({
  model_type: only("siglip_vision_model"),
  ...visionFields,
  intermediate_size: withDefault(size, 3072),
  patch_size: withDefault(size, 16),
  hidden_act: withDefault(z.enum(activationNames), "gelu_pytorch_tanh"),
  layer_norm_eps: withDefault(z.number().positive(), 1e-6),
  vision_use_head: withDefault(z.boolean(), true),
});

export interface SiglipVisionConfig extends PatchConfig, ClipLayerConfig {
  /** Whether a head makes one vector of a picture. */
  head: boolean;
}

/**
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 * @see https://huggingface.co/docs/transformers/model_doc/siglip
 */
export function readSiglipVisionConfig(json: unknown): SiglipVisionConfig {
  const c = readConfig(schema, json, "SigLIP vision");
  return {
    ...readPatchConfig(c, c.patch_size, "SigLIP vision"),
    intermediateSize: c.intermediate_size,
    head: c.vision_use_head,
    activation: c.hidden_act,
    eps: c.layer_norm_eps,
  };
}

export interface SiglipVisionOutputs {
  /** The embeddings, then the states after each layer [B, patches, C]; there is no class token. */
  hiddenStates: Value[];
  /** The last of them with the last norm. */
  lastHiddenState: Value;
  /** What a learned query reads from it [B, C]; where the checkpoint has the head. */
  pooled: Value | undefined;
}

/**
 * @param pixels [B, 3, H, W], normalised as the checkpoint's preprocessor does; other sizes than the config's get their
 * positions by bicubic interpolation
 * @throws DiffsightError IMAGE_SIZE when not even one patch fits
 */
export function siglipVision(w: Scope, config: SiglipVisionConfig, pixels: Value): SiglipVisionOutputs {
  const model = w.has("vision_model") ? w.at("vision_model") : w;
  const { eps, grid, hiddenSize, patchSize } = config;
  const [, , height, width] = pixels.dims;

  // 1. Embeddings: patches row by row
  const [rows, columns] = patchGrid({ width: width!, height: height! }, patchSize);
  const place = model.at("embeddings");
  const patches = embedPatches(pixels, place.at("patch_embedding"), config);
  const positions = place.at("position_embedding").parameter("weight", [grid ** 2, hiddenSize]);
  let x: Value = add(patches, resizePositions(positions, grid, rows, columns));

  // 2. Layers
  const hiddenStates = [x];
  for (let i = 0; i < config.layers; i++) {
    x = clipLayer(model.at("encoder", "layers", i), config, x, { causal: false });
    hiddenStates.push(x);
  }

  // 3. The picture as one vector
  const lastHiddenState = layerNorm(x, model.at("post_layernorm"), { eps });
  const pooled = config.head ? poolingHead(model.at("head"), config, lastHiddenState) : undefined;
  return { hiddenStates, lastHiddenState, pooled };
}

/** A learned query that asks all tokens (`SiglipMultiheadAttentionPoolingHead`): x [B, T, C] -> [B, C] */
function poolingHead(w: Scope, config: SiglipVisionConfig, x: Value): Value {
  const { eps, heads, hiddenSize } = config;
  const batch = x.dims[0]!;
  const attn = w.at("attention"); // torch's own MultiheadAttention: q, k, v in one matrix
  const weights = split(attn.parameter("in_proj_weight", [3 * hiddenSize, hiddenSize]), 0, 3);
  const biases = split(attn.parameter("in_proj_bias", [3 * hiddenSize]), 0, 3);
  const probe = expand(w.parameter("probe", [1, 1, hiddenSize]), [batch, 1, hiddenSize]);
  const [q, k, v] = [probe, x, x].map((from, i) => project(from, weights[i]!, biases[i]!));
  let h: Value = attention(q!, k!, v!, { heads, scale: (hiddenSize / heads) ** -0.5 });
  h = linear(h, attn.at("out_proj"), { out: hiddenSize });
  const normal = layerNorm(h, w.at("layernorm"), { eps });
  const inner = linear(normal, w.at("mlp", "fc1"), { out: config.intermediateSize });
  h = add(h, linear(activation(config.activation)(inner), w.at("mlp", "fc2"), { out: hiddenSize }));
  return reshape(h, [batch, hiddenSize]);
}
