/** @file The tiny autoencoder (diffusers `AutoencoderTiny`, TAESD): latents of the same space, at a fraction of the cost. */

import { z } from "zod";
import { add, div, mul, relu, sub, tanh, upsampleNearest, type Value } from "../graph/index.js";
import { failure } from "../tensor/index.js";
import type { Scope } from "../weights/index.js";
import { only, readConfig, size, withDefault } from "./config.js";
import { type ActivationName, activation, activationNames, conv2d } from "./layers.js";

// latent_magnitude and latent_shift serve only to store latents as bytes: encoding and decoding are without them.
const schema = z.looseObject({
  in_channels: withDefault(size, 3),
  out_channels: withDefault(size, 3),
  encoder_block_out_channels: withDefault(z.array(size).min(1), [64, 64, 64, 64]),
  decoder_block_out_channels: withDefault(z.array(size).min(1), [64, 64, 64, 64]),
  act_fn: withDefault(z.enum(activationNames), "relu"),
  upsample_fn: only("nearest"),
  latent_channels: withDefault(size, 4),
  upsampling_scaling_factor: only(2),
  num_encoder_blocks: withDefault(z.array(z.number().int().nonnegative()).min(1), [1, 3, 3, 3]),
  num_decoder_blocks: withDefault(z.array(z.number().int().nonnegative()).min(1), [3, 3, 3, 1]),
  scaling_factor: withDefault(z.number().positive(), 1),
  shift_factor: withDefault(z.number(), 0),
});

export interface TinyVaeConfig {
  kind: "tiny";
  inChannels: number;
  outChannels: number;
  latentChannels: number;
  /** How many pixels one latent covers, per side. */
  factor: number;
  scalingFactor: number;
  shiftFactor: number;
  /** Residual blocks at each resolution, in the order of execution. */
  encoderBlocks: readonly number[];
  decoderBlocks: readonly number[];
  activation: ActivationName;
}

/**
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 * @see https://huggingface.co/docs/diffusers/api/models/autoencoder_tiny
 */
export function readTinyVaeConfig(json: unknown): TinyVaeConfig {
  const c = readConfig(schema, json, "AutoencoderTiny");
  const levels = c.num_encoder_blocks.length;
  for (const field of [
    "encoder_block_out_channels",
    "decoder_block_out_channels",
    "num_decoder_blocks",
  ] as const) {
    if (c[field].length !== levels) {
      const found = c[field].length;
      throw failure(
        "CONFIG",
        `AutoencoderTiny config: ${field} has ${found} entries, num_encoder_blocks has ${levels}.`,
      );
    }
  }
  return {
    kind: "tiny",
    inChannels: c.in_channels,
    outChannels: c.out_channels,
    latentChannels: c.latent_channels,
    factor: 2 ** (levels - 1),
    scalingFactor: c.scaling_factor,
    shiftFactor: c.shift_factor,
    encoderBlocks: c.num_encoder_blocks,
    decoderBlocks: c.num_decoder_blocks,
    activation: c.act_fn,
  };
}

/** pixels [B, 3, H, W] in [-1, 1] -> latents [B, C, H / factor, W / factor], rounded up. */
export function tinyVaeEncode(w: Scope, config: TinyVaeConfig, pixels: Value): Value {
  const next = sequence(w.at("encoder", "layers"));
  let x: Value = div(add(pixels, 1), 2); // the network's pixels are in [0, 1]
  config.encoderBlocks.forEach((blocks, level) => {
    x = conv2d(x, next(), { padding: 1, stride: level === 0 ? 1 : 2 });
    for (let i = 0; i < blocks; i++) x = tinyBlock(next(), config, x);
  });
  return conv2d(x, next(), { padding: 1 });
}

/** latent [B, C, h, w] -> pixels [B, 3, h * factor, w * factor], about [-1, 1]. */
export function tinyVaeDecode(w: Scope, config: TinyVaeConfig, latent: Value): Value {
  const next = sequence(w.at("decoder", "layers"));
  const clamped = mul(tanh(div(latent, 3)), 3); // softly, to [-3, 3]
  let x: Value = conv2d(clamped, next(), { padding: 1 });
  next(); // the activation has a number of its own, and so has each upsampling
  x = activation(config.activation)(x);
  config.decoderBlocks.forEach((blocks, level) => {
    for (let i = 0; i < blocks; i++) x = tinyBlock(next(), config, x);
    if (level < config.decoderBlocks.length - 1) {
      next();
      x = upsampleNearest(x, x.dims[2]! * 2, x.dims[3]! * 2);
    }
    x = conv2d(x, next(), { padding: 1 });
  });
  return sub(mul(x, 2), 1);
}

/** The layers of a `Sequential` one after another. */
function sequence(w: Scope): () => Scope {
  let index = 0;
  return () => w.at(index++);
}

/** Three convolutions and a residual; ReLU at the end, whatever act_fn says. */
function tinyBlock(w: Scope, config: TinyVaeConfig, x: Value): Value {
  const act = activation(config.activation);
  let h = act(conv2d(x, w.at("conv", 0), { padding: 1 }));
  h = act(conv2d(h, w.at("conv", 2), { padding: 1 }));
  h = conv2d(h, w.at("conv", 4), { padding: 1 });
  return relu(add(h, x));
}
