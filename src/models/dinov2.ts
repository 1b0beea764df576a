/** @file DINOv2's image encoder (transformers `Dinov2Model` and `Dinov2WithRegistersModel`). */

import { z } from "zod";
import { add, attention, concat, expand, mul, reshape, silu, slice, type Value } from "../graph/index.js";
import type { Scope } from "../weights/index.js";
import { only, readConfig, size, withDefault } from "./config.js";
import {
  type ActivationName,
  activation,
  activationNames,
  layerNorm,
  linear,
  linearParts,
} from "./layers.js";
import {
  embedPatches,
  type PatchConfig,
  patchGrid,
  readPatchConfig,
  resizePositions,
  visionFields,
} from "./patches.js";

const schema = z.looseObject({
  model_type: only("dinov2", "dinov2_with_registers"),
  ...visionFields,
  patch_size: size.nullish(),
  hidden_act: withDefault(z.enum(activationNames), "gelu"),
  layer_norm_eps: withDefault(z.number().positive(), 1e-6),
  use_swiglu_ffn: withDefault(z.boolean(), false),
  num_register_tokens: z.number().int().nonnegative().nullish(),
});

export interface Dinov2Config extends PatchConfig {
  /** Tokens without a place between the class token and the patches. */
  registers: number;
  /** Whether positions are averaged over what a smaller grid leaves out. */
  antialias: boolean;
  /** Whether the feed-forward is gated: silu(gate x) · up x. */
  gated: boolean;
  activation: ActivationName;
  eps: number;
}

/**
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 * @see https://huggingface.co/docs/transformers/model_doc/dinov2
 */
export function readDinov2Config(json: unknown): Dinov2Config {
  const c = readConfig(schema, json, "DINOv2");
  const withRegisters = c.model_type === "dinov2_with_registers";
  return {
    ...readPatchConfig(c, c.patch_size ?? (withRegisters ? 16 : 14), "DINOv2"),
    registers: withRegisters ? (c.num_register_tokens ?? 4) : 0,
    antialias: withRegisters,
    gated: c.use_swiglu_ffn,
    activation: c.hidden_act,
    eps: c.layer_norm_eps,
  };
}

export interface Dinov2Outputs {
  /** The embeddings, then the states after each layer [B, 1 + registers + patches, C]; the class token comes first. */
  hiddenStates: Value[];
  /** The last of them with the last norm. */
  lastHiddenState: Value;
  /** Its class token [B, C]. */
  pooled: Value;
}

/**
 * @param pixels [B, 3, H, W], normalised as the checkpoint's preprocessor does; other sizes than the config's get their
 * positions by bicubic interpolation
 * @throws DiffsightError IMAGE_SIZE when not even one patch fits
 */
export function dinov2(w: Scope, config: Dinov2Config, pixels: Value): Dinov2Outputs {
  const prefix = ["dinov2", "dinov2_with_registers"].find((one) => w.has(one));
  const model = prefix === undefined ? w : w.at(prefix);
  const { eps, grid, hiddenSize, patchSize, registers } = config;
  const [batch, , height, width] = pixels.dims;

  // 1. Embeddings: class token, registers, patches row by row; registers have no place
  const [rows, columns] = patchGrid({ width: width!, height: height! }, patchSize);
  const place = model.at("embeddings");
  const patches = embedPatches(pixels, place.at("patch_embeddings", "projection"), config);
  const positions = reshape(place.parameter("position_embeddings", [1, 1 + grid ** 2, hiddenSize]), [
    -1,
    hiddenSize,
  ]);
  const square = resizePositions(slice(positions, 0, 1, 1 + grid ** 2), grid, rows, columns, config);
  const own = add(place.parameter("cls_token", [1, 1, hiddenSize]), slice(positions, 0, 0, 1));
  const tokens = [expand(own, [batch!, 1, hiddenSize])];
  if (registers) {
    const extra = place.parameter("register_tokens", [1, registers, hiddenSize]);
    tokens.push(expand(extra, [batch!, registers, hiddenSize]));
  }
  let x: Value = concat([...tokens, add(patches, square)], 1);

  // 2. Layers
  const hiddenStates = [x];
  for (let i = 0; i < config.layers; i++) {
    x = layer(model.at("encoder", "layer", i), config, x);
    hiddenStates.push(x);
  }

  // 3. The picture as one vector: its class token
  const lastHiddenState = layerNorm(x, model.at("layernorm"), { eps });
  const pooled = reshape(slice(lastHiddenState, 1, 0, 1), [batch!, hiddenSize]);
  return { hiddenStates, lastHiddenState, pooled };
}

/** x [B, T, C] -> [B, T, C]; what each half adds is scaled a channel (layer scale). */
function layer(w: Scope, config: Dinov2Config, x: Value): Value {
  const { eps, heads, hiddenSize } = config;

  // 1. Self-attention
  const attn = w.at("attention", "attention");
  let h = layerNorm(x, w.at("norm1"), { eps });
  const whole = { out: hiddenSize };
  const q = linear(h, attn.at("query"), whole);
  const k = linear(h, attn.at("key"), whole);
  const v = linear(h, attn.at("value"), whole);
  h = attention(q, k, v, { heads, scale: (hiddenSize / heads) ** -0.5 });
  h = linear(h, w.at("attention", "output", "dense"), whole);
  x = add(x, mul(h, w.at("layer_scale1").parameter("lambda1", [hiddenSize])));

  // 2. Feed-forward
  h = feedForward(w.at("mlp"), config, layerNorm(x, w.at("norm2"), { eps }));
  return add(x, mul(h, w.at("layer_scale2").parameter("lambda1", [hiddenSize])));
}

function feedForward(w: Scope, config: Dinov2Config, x: Value): Value {
  const whole = { out: config.hiddenSize };
  if (!config.gated) return linear(activation(config.activation)(linear(x, w.at("fc1"))), w.at("fc2"), whole);
  const [gate, up] = linearParts(x, w.at("weights_in"), 2);
  return linear(mul(silu(gate!), up!), w.at("weights_out"), whole);
}
