/** @file CLIP's image encoder (transformers `CLIPVisionModel` and `CLIPVisionModelWithProjection`). */

import { z } from "zod";
import {
  add,
  concat,
  constant,
  conv2d,
  expand,
  gather,
  matmul,
  linear as project,
  reshape,
  slice,
  type Value,
} from "../graph/index.js";
import { interpolate } from "../image/index.js";
import { failure, misuse, Tensor } from "../tensor/index.js";
import type { Scope } from "../weights/index.js";
import { type ClipLayerConfig, clipLayer } from "./clip-layer.js";
import { only, readConfig, size, withDefault } from "./config.js";
import { activationNames, layerNorm, toTokens } from "./layers.js";

const schema = z.looseObject({
  model_type: only("clip_vision_model"),
  hidden_size: withDefault(size, 768),
  intermediate_size: withDefault(size, 3072),
  projection_dim: withDefault(size, 512),
  num_hidden_layers: withDefault(size, 12),
  num_attention_heads: withDefault(size, 12),
  num_channels: withDefault(size, 3),
  image_size: withDefault(size, 224),
  patch_size: withDefault(size, 32),
  hidden_act: withDefault(z.enum(activationNames), "quick_gelu"),
  layer_norm_eps: withDefault(z.number().positive(), 1e-5),
});

export interface ClipVisionConfig extends ClipLayerConfig {
  projectionDim: number;
  layers: number;
  channels: number;
  /** The side of the pictures that the checkpoint was trained on. */
  imageSize: number;
  patchSize: number;
  /** Patches a side of such a picture. */
  grid: number;
}

/**
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 * @see https://huggingface.co/docs/transformers/model_doc/clip
 */
export function readClipVisionConfig(json: unknown): ClipVisionConfig {
  const c = readConfig(schema, json, "CLIP vision");
  if (c.hidden_size % c.num_attention_heads) {
    const heads = `num_attention_heads ${c.num_attention_heads}`;
    throw failure(
      "CONFIG",
      `CLIP vision config: hidden_size ${c.hidden_size} does not divide into ${heads}.`,
    );
  }
  if (c.patch_size > c.image_size) {
    throw failure(
      "CONFIG",
      `CLIP vision config: patch_size ${c.patch_size} exceeds image_size ${c.image_size}.`,
    );
  }
  return {
    hiddenSize: c.hidden_size,
    intermediateSize: c.intermediate_size,
    projectionDim: c.projection_dim,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    channels: c.num_channels,
    imageSize: c.image_size,
    patchSize: c.patch_size,
    grid: Math.floor(c.image_size / c.patch_size),
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
  if (height! < patchSize || width! < patchSize) {
    throw misuse(
      "IMAGE_SIZE",
      `A picture of ${width} x ${height} pixels has no patch: one takes ${patchSize} x ${patchSize}.`,
    );
  }

  // 1. Embeddings: the class token, then the patches row by row
  const place = model.at("embeddings");
  const kernel = place.at("patch_embedding").parameter("weight");
  const positions = place.at("position_embedding").parameter("weight", [1 + config.grid ** 2, hiddenSize]);
  let patches: Value = toTokens(conv2d(pixels, kernel, undefined, { stride: patchSize }));
  const rows = Math.floor(height! / patchSize);
  const columns = Math.floor(width! / patchSize);
  patches = add(patches, patchPositions(positions, config.grid, rows, columns));
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

/** Positions [1 + grid², C] of the patches alone, brought to another grid as torch's bicubic does: [rows columns, C] */
function patchPositions(positions: Value, grid: number, rows: number, columns: number): Value {
  const [, channels] = positions.dims;
  const square = slice(positions, 0, 1, 1 + grid ** 2);
  if (rows === grid && columns === grid) return square;
  const down = matmul(resampling(grid, rows), reshape(square, [grid, grid * channels!]));
  const both = matmul(resampling(grid, columns), reshape(down, [rows, grid, channels!]));
  return reshape(both, [rows * columns, channels!]);
}

/** Bicubic interpolation along one axis as a matrix: [to, from] */
function resampling(from: number, to: number): Value {
  const basis = new Float32Array(from * from);
  for (let i = 0; i < from; i++) basis[i * from + i] = 1;
  const columns = interpolate(Tensor.f32([1, from, from], basis), [to, from], "bicubic");
  return constant(columns.reshape([to, from]));
}
