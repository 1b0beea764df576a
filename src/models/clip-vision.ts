/** @file CLIP's image encoder (transformers `CLIPVisionModel` and `CLIPVisionModelWithProjection`). */

import { z } from "zod";
import {
  add,
  concat,
  expand,
  gather,
  linear as project,
  reshape,
  slice,
  type Value,
} from "../graph/index.js";
import type { Scope } from "../weights/index.js";
import { type ClipLayerConfig, clipLayer } from "./clip-layer.js";
import { only, readConfig, size, withDefault } from "./config.js";
import { activationNames, layerNorm } from "./layers.js";
import {
  embedPatches,
  type PatchConfig,
  patchGrid,
  readPatchConfig,
  resizePositions,
  visionFields,
} from "./patches.js";

const schema = z.looseObject({
  model_type: only("clip_vision_model"),
  ...visionFields,
  intermediate_size: withDefault(size, 3072),
  projection_dim: withDefault(size, 512),
  patch_size: withDefault(size, 32),
  hidden_act: withDefault(z.enum(activationNames), "quick_gelu"),
  layer_norm_eps: withDefault(z.number().positive(), 1e-5),
});

export interface ClipVisionConfig extends PatchConfig, ClipLayerConfig {
  projectionDim: number;
}

/**
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 * @see https://huggingface.co/docs/transformers/model_doc/clip
 */
export function readClipVisionConfig(json: unknown): ClipVisionConfig {
  const c = readConfig(schema, json, "CLIP vision");
  return {
    ...readPatchConfig(c, c.patch_size, "CLIP vision"),
    intermediateSize: c.intermediate_size,
    projectionDim: c.projection_dim,
    activation: c.hidden_act,
    eps: c.layer_norm_eps,
  };
}

export interface ClipVisionOutputs {
  /** The normed embeddings, then the states after each layer [B, 1 + patches, C]; the class token comes first. */
  hiddenStates: Value[];
  /** The last of them; without the last norm, which is the class token's alone. */
  lastHiddenState: Value;
  /** The class token with the last norm [B, C]. */
  pooled: Value;
  /** The same projected [B, projection_dim]; where the checkpoint has a projection. */
  imageEmbeds: Value | undefined;
}

/**
 * @param pixels [B, 3, H, W], normalised as the checkpoint's preprocessor does; other sizes than the config's get their
 * positions by bicubic interpolation
 * @param visible which patches the layers see [B, K] (i64), counted through the batch: patch p of picture b is b P + p.
 * Default: all of them
 * @throws DiffsightError IMAGE_SIZE when not even one patch fits
 */
export function clipVision(
  w: Scope,
  config: ClipVisionConfig,
  pixels: Value,
  { visible }: { visible?: Value | undefined } = {},
): ClipVisionOutputs {
  const model = w.has("vision_model") ? w.at("vision_model") : w;
  const { eps, hiddenSize, patchSize } = config;
  const [batch, , height, width] = pixels.dims;
  const [rows, columns] = patchGrid({ width: width!, height: height! }, patchSize);

  // 1. Embeddings: the class token, then the patches row by row
  const place = model.at("embeddings");
  const positions = place.at("position_embedding").parameter("weight", [1 + config.grid ** 2, hiddenSize]);
  let patches: Value = embedPatches(pixels, place.at("patch_embedding"), config);
  const square = slice(positions, 0, 1, 1 + config.grid ** 2);
  patches = add(patches, resizePositions(square, config.grid, rows, columns));
  if (visible) patches = gather(reshape(patches, [-1, hiddenSize]), visible);
  const own = add(place.parameter("class_embedding", [hiddenSize]), reshape(slice(positions, 0, 0, 1), [-1]));
  let x: Value = concat([expand(own, [batch!, 1, hiddenSize]), patches], 1);
  x = layerNorm(x, model.at("pre_layrnorm"), { eps }); // spelt so in the files

  // 2. Layers
  const hiddenStates = [x];
  for (let i = 0; i < config.layers; i++) {
    x = clipLayer(model.at("encoder", "layers", i), config, x, { causal: false });
    hiddenStates.push(x);
  }

  // 3. The picture as one vector: its class token
  const first = reshape(slice(x, 1, 0, 1), [batch!, hiddenSize]);
  const pooled = layerNorm(first, model.at("post_layernorm"), { eps });
  const projection = w.optional("visual_projection.weight", [config.projectionDim, hiddenSize]);
  const imageEmbeds = projection && project(pooled, projection);
  return { hiddenStates, lastHiddenState: x, pooled, imageEmbeds };
}

/** A hidden state without its class token: [B, 1 + P, C] -> [B, P, C] */
export function visionPatches(state: Value): Value {
  return slice(state, 1, 1, state.dims[1]!);
}
