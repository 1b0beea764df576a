/** @file Residual block of the U-Net and the VAE (diffusers `ResnetBlock2D`), and the samplers between levels. */

import { add, mul, reshape, split, upsampleNearest, type Value } from "../graph/index.js";
import type { Scope } from "../weights/index.js";
import { type ActivationName, activation, conv2d, groupNorm, linear } from "./layers.js";

export interface ResnetOptions {
  groups: number;
  eps: number;
  activation?: ActivationName;
  /** The time embedding scales and shifts the second norm instead of being added ("scale_shift"). */
  timeScaleShift?: boolean;
  outputScaleFactor?: number;
}

/** x [B, C, H, W], time [B, D] or none -> [B, C', H, W]. */
export function resnetBlock(w: Scope, x: Value, time: Value | undefined, options: ResnetOptions): Value {
  const { groups, eps, timeScaleShift = false, outputScaleFactor = 1 } = options;
  const act = activation(options.activation ?? "silu");
  const norm = { groups, eps };

  let h = conv2d(act(groupNorm(x, w.at("norm1"), norm)), w.at("conv1"), { padding: 1 });
  const embedded = time && spatial(linear(act(time), w.at("time_emb_proj")));
  if (embedded && !timeScaleShift) h = add(h, embedded);
  h = groupNorm(h, w.at("norm2"), norm);
  if (embedded && timeScaleShift) {
    const [scale, shift] = split(embedded, 1, 2);
    h = add(mul(h, add(scale!, 1)), shift!);
  }
  h = conv2d(act(h), w.at("conv2"), { padding: 1 });
  h = w.tap("res-increment", h); // before the shortcut, as generic-diffusion-feature takes it

  const shortcut = w.has("conv_shortcut") ? conv2d(x, w.at("conv_shortcut")) : x;
  const sum = add(shortcut, h);
  return w.tap("res-out", outputScaleFactor === 1 ? sum : mul(sum, 1 / outputScaleFactor));
}

/** One vector an image over the whole grid: [B, C] -> [B, C, 1, 1] */
function spatial(x: Value): Value {
  return reshape(x, [...x.dims, 1, 1]);
}

/**
 * Halves the grid with a 3x3 convolution of stride 2.
 * @param padding 1 on every side (U-Net), or 0: right and bottom only (VAE)
 */
export function downsample(w: Scope, x: Value, padding: 0 | 1): Value {
  return w.tap("out", conv2d(x, w.at("conv"), { stride: 2, padding: padding === 1 ? 1 : [0, 0, 1, 1] }));
}

/** Nearest neighbours to height x width, then a 3x3 convolution. */
export function upsample(w: Scope, x: Value, height = x.dims[2]! * 2, width = x.dims[3]! * 2): Value {
  return w.tap("out", conv2d(upsampleNearest(x, height, width), w.at("conv"), { padding: 1 }));
}
