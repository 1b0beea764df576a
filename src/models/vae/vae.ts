/** @file The autoencoder of Stable Diffusion (diffusers `AutoencoderKL`): pixels to a Gaussian over latents, and back. */

import { add, attention, clamp, silu, split, type Value } from "../../graph/index.js";
import type { Scope } from "../../weights/index.js";
import { conv2d, groupNorm, linear, toGrid, toTokens } from "../layers.js";
import { downsample, type ResnetOptions, resnetBlock, upsample } from "../resnet.js";
import type { VaeConfig } from "./config.js";

/** Every norm of the autoencoder, whatever the config says. */
const eps = 1e-6;

/** A diagonal Gaussian over latents, each [B, C, h, w]. */
export interface Posterior {
  mean: Value;
  logvar: Value;
}

/** pixels [B, 3, H, W] in [-1, 1] -> latents [B, C, H / factor, W / factor], rounded down; not scaled. */
export function vaeEncode(w: Scope, config: VaeConfig, pixels: Value): Posterior {
  const encoder = w.at("encoder");
  const resnet = resnetOptions(config);

  // 1. Down
  let x = conv2d(pixels, encoder.at("conv_in"), { padding: 1 });
  for (let i = 0; i < config.levels; i++) {
    const block = encoder.at("down_blocks", i);
    for (let j = 0; j < config.layersPerBlock; j++)
      x = resnetBlock(block.at("resnets", j), x, undefined, resnet);
    if (i < config.levels - 1) x = downsample(block.at("downsamplers", 0), x, 0);
  }

  // 2. Mid
  x = midBlock(encoder.at("mid_block"), config, x);

  // 3. Moments
  x = normOut(encoder, config, x);
  return posterior(config.quantConv ? conv2d(x, w.at("quant_conv")) : x);
}

/** Moments [B, 2 C, h, w] -> mean and log variance, clamped as diffusers' `DiagonalGaussianDistribution` does. */
export function posterior(moments: Value): Posterior {
  const [mean, logvar] = split(moments, 1, 2);
  return { mean: mean!, logvar: clamp(logvar!, -30, 20) };
}

/** latent [B, C, h, w], not scaled -> pixels [B, 3, h * factor, w * factor], about [-1, 1]. */
export function vaeDecode(w: Scope, config: VaeConfig, latent: Value): Value {
  const decoder = w.at("decoder");
  const resnet = resnetOptions(config);

  // 1. Mid
  let x = config.postQuantConv ? conv2d(latent, w.at("post_quant_conv")) : latent;
  x = conv2d(x, decoder.at("conv_in"), { padding: 1 });
  x = midBlock(decoder.at("mid_block"), config, x);

  // 2. Up
  for (let i = 0; i < config.levels; i++) {
    const block = decoder.at("up_blocks", i);
    for (let j = 0; j <= config.layersPerBlock; j++)
      x = resnetBlock(block.at("resnets", j), x, undefined, resnet);
    if (i < config.levels - 1) x = upsample(block.at("upsamplers", 0), x);
  }

  // 3. Pixels
  return normOut(decoder, config, x);
}

function resnetOptions({ groups, activation }: VaeConfig): ResnetOptions {
  return { groups, eps, activation };
}

function midBlock(w: Scope, config: VaeConfig, x: Value): Value {
  const resnet = resnetOptions(config);
  x = resnetBlock(w.at("resnets", 0), x, undefined, resnet);
  if (config.midAttention) x = selfAttention(w.at("attentions", 0), config, x);
  return resnetBlock(w.at("resnets", 1), x, undefined, resnet);
}

/** One head over the grid. Files from before diffusers 0.12 have other names, and 1x1 convolutions for matrices. */
function selfAttention(w: Scope, { groups }: VaeConfig, x: Value): Value {
  const [, channels, height, width] = x.dims;
  const h = toTokens(groupNorm(x, w.at("group_norm"), { groups, eps }));
  const q = linear(h, w.either("to_q", "query"));
  const k = linear(h, w.either("to_k", "key"));
  const v = linear(h, w.either("to_v", "value"));
  const attended = attention(q, k, v, { heads: 1, scale: channels! ** -0.5 });
  return add(toGrid(linear(attended, w.either("to_out.0", "proj_attn")), height!, width!), x);
}

/** The last norm and convolution; SiLU between, whatever act_fn says. */
function normOut(w: Scope, { groups }: VaeConfig, x: Value): Value {
  return conv2d(silu(groupNorm(x, w.at("conv_norm_out"), { groups, eps })), w.at("conv_out"), { padding: 1 });
}
