/** @file AutoencoderKL's config: diffusers' fields and defaults. */

import { z } from "zod";
import { failure } from "../../tensor/index.js";
import { only, readConfig, size, withDefault } from "../config.js";
import { type ActivationName, activationNames } from "../layers.js";

const schema = z.looseObject({
  in_channels: withDefault(size, 3),
  out_channels: withDefault(size, 3),
  down_block_types: withDefault(z.array(z.literal("DownEncoderBlock2D")), ["DownEncoderBlock2D"]),
  up_block_types: withDefault(z.array(z.literal("UpDecoderBlock2D")), ["UpDecoderBlock2D"]),
  block_out_channels: withDefault(z.array(size).min(1), [64]),
  layers_per_block: withDefault(size, 1),
  act_fn: withDefault(z.enum(activationNames), "silu"),
  latent_channels: withDefault(size, 4),
  norm_num_groups: withDefault(size, 32),
  scaling_factor: withDefault(z.number().positive(), 0.18215),
  shift_factor: withDefault(z.number(), 0),
  latents_mean: only(null),
  latents_std: only(null),
  use_quant_conv: withDefault(z.boolean(), true),
  use_post_quant_conv: withDefault(z.boolean(), true),
  mid_block_add_attention: withDefault(z.boolean(), true),
});

export interface VaeConfig {
  kind: "kl";
  inChannels: number;
  outChannels: number;
  latentChannels: number;
  /** How many pixels one latent covers, per side. */
  factor: number;
  /** The U-Net's latent is (z - shiftFactor) * scalingFactor; the networks here know of neither. */
  scalingFactor: number;
  shiftFactor: number;
  /** Resolutions, from the image's to the latent's. */
  levels: number;
  /** Channels at each of them. */
  channels: readonly number[];
  /** Residual blocks a level in the encoder; the decoder has one more. */
  layersPerBlock: number;
  midAttention: boolean;
  quantConv: boolean;
  postQuantConv: boolean;
  activation: ActivationName;
  groups: number;
}

/**
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 * @see https://huggingface.co/docs/diffusers/api/models/autoencoderkl
 */
export function readVaeConfig(json: unknown): VaeConfig {
  const c = readConfig(schema, json, "AutoencoderKL");
  const levels = c.block_out_channels.length;
  for (const field of ["down_block_types", "up_block_types"] as const) {
    if (c[field].length !== levels) {
      throw failure(
        "CONFIG",
        `AutoencoderKL config: ${field} has ${c[field].length} entries for ${levels} blocks.`,
      );
    }
  }
  const uneven = c.block_out_channels.find((channels) => channels % c.norm_num_groups !== 0);
  if (uneven !== undefined) {
    throw failure(
      "CONFIG",
      `AutoencoderKL config: ${uneven} channels do not divide into norm_num_groups ${c.norm_num_groups}.`,
    );
  }
  return {
    kind: "kl",
    inChannels: c.in_channels,
    outChannels: c.out_channels,
    latentChannels: c.latent_channels,
    factor: 2 ** (levels - 1),
    scalingFactor: c.scaling_factor,
    shiftFactor: c.shift_factor,
    levels,
    channels: c.block_out_channels,
    layersPerBlock: c.layers_per_block,
    midAttention: c.mid_block_add_attention,
    quantConv: c.use_quant_conv,
    postQuantConv: c.use_post_quant_conv,
    activation: c.act_fn,
    groups: c.norm_num_groups,
  };
}
