/** @file The U-Net of Stable Diffusion 1.x, 2.x and SDXL (diffusers `UNet2DConditionModel`). */

import { add, concat, mul, silu, sub, type Value } from "../../graph/index.js";
import type { Scope } from "../../weights/index.js";
import { activation, conv2d, groupNorm, linear } from "../layers.js";
import { downsample, type ResnetOptions, resnetBlock, upsample } from "../resnet.js";
import type { StageConfig, UnetConfig } from "./config.js";
import { transformer2d } from "./transformer.js";

export interface UnetInputs {
  /** The noisy latent [B, C, h, w]. */
  sample: Value;
  /** Sinusoids of the timestep [B, block_out_channels[0]]. */
  timestep: Value;
  /** The text encoder's states [B, T, cross_attention_dim]; or those of each transformer block, by its path. */
  encoderHiddenStates: Value | ((path: string) => Value);
  /** SDXL: the pooled text [B, D]. */
  textEmbeds?: Value | undefined;
  /** SDXL: sinusoids of original size, crop and target size, flattened [B, 6 addition_time_embed_dim]. */
  timeIds?: Value | undefined;
}

/** -> the prediction [B, out_channels, h, w]. Everything between is tapped. */
export function unet(w: Scope, config: UnetConfig, inputs: UnetInputs): Value {
  const { encoderHiddenStates: text } = inputs;
  const textAt = typeof text === "function" ? text : () => text;
  const resnet: ResnetOptions = {
    groups: config.groups,
    eps: config.eps,
    activation: config.activation,
    timeScaleShift: config.timeScaleShift,
  };
  const vit = (scope: Scope, x: Value, stage: StageConfig, layer: number) =>
    transformer2d(scope, x, textAt, {
      heads: stage.heads,
      layers: stage.transformerLayers[layer]!,
      groups: config.groups,
      linearProjection: config.linearProjection,
      onlyCrossAttention: stage.onlyCrossAttention,
    });

  // 1. Time
  let time = mlp(w.at("time_embedding"), inputs.timestep, activation(config.activation));
  if (config.additionEmbed === "text_time") {
    time = add(time, mlp(w.at("add_embedding"), concat([inputs.textEmbeds!, inputs.timeIds!], 1), silu));
  }

  // 2. Pre-process
  const sample = w.tap("unet-in", inputs.sample);
  const centered = config.centerInputSample ? sub(mul(sample, 2), 1) : sample;
  let x = conv2d(centered, w.at("conv_in"), { padding: (config.kernelIn - 1) >> 1 });
  x = w.tap("unet-after-conv-in", x);

  // 3. Down
  const skips = [x];
  config.down.forEach((stage, i) => {
    const block = w.at("down_blocks", i);
    for (let j = 0; j < stage.layers; j++) {
      x = resnetBlock(block.at("resnets", j), x, time, resnet);
      if (stage.attention) x = vit(block.at("attentions", j), x, stage, j);
      skips.push(x);
    }
    if (i < config.down.length - 1) {
      x = downsample(block.at("downsamplers", 0), x, config.downsamplePadding);
      skips.push(x);
    }
  });

  // 4. Mid
  const mid = w.at("mid_block");
  const midResnet = { ...resnet, outputScaleFactor: config.midScaleFactor };
  x = resnetBlock(mid.at("resnets", 0), x, time, midResnet);
  for (let j = 0; j < config.mid.layers; j++) {
    x = vit(mid.at("attentions", j), x, config.mid, j);
    x = resnetBlock(mid.at("resnets", j + 1), x, time, midResnet);
  }

  // 5. Up
  config.up.forEach((stage, i) => {
    const block = w.at("up_blocks", i);
    for (let j = 0; j < stage.layers; j++) {
      x = resnetBlock(block.at("resnets", j), concat([x, skips.pop()!], 1), time, resnet);
      if (stage.attention) x = vit(block.at("attentions", j), x, stage, j);
    }
    if (i < config.up.length - 1) {
      // To the size of the next skip: twice, and for odd grids one less.
      const [, , height, width] = skips.at(-1)!.dims;
      x = upsample(block.at("upsamplers", 0), x, height, width);
    }
  });

  // 6. Post-process
  x = activation(config.activation)(
    groupNorm(x, w.at("conv_norm_out"), { groups: config.groups, eps: config.eps }),
  );
  return w.tap("unet-out", conv2d(x, w.at("conv_out"), { padding: (config.kernelOut - 1) >> 1 }));
}

/** Two linear layers with an activation between (diffusers `TimestepEmbedding`): of the sizes it is SiLU always. */
function mlp(w: Scope, x: Value, act: (x: Value) => Value): Value {
  return linear(act(linear(x, w.at("linear_1"))), w.at("linear_2"));
}
