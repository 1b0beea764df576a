/** @file The tensors of a U-Net (diffusers `UNet2DConditionModel`). */

import { readUnetConfig, type StageConfig, type UnetConfig } from "../unet/config.js";
import { type Layout, LayoutBuilder } from "./layout.js";

/**
 * @param json its config.json
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 */
export function unetLayout(json: unknown): Layout {
  const config = readUnetConfig(json);
  const layers = new LayoutBuilder();
  const width = config.down[0]!.channels;
  const time = config.timeEmbedDim;
  const resnet = (key: string, from: number, to: number) =>
    layers.resnet(key, { from, to, time, timeScaleShift: config.timeScaleShift });

  layers.conv("conv_in", config.inChannels, width, config.kernelIn);
  embedding(layers, "time_embedding", width, time);
  if (config.additionEmbed) embedding(layers, "add_embedding", config.additionInputDim, time);

  const skips = [width];
  let channels = width;
  config.down.forEach((stage, i) => {
    const block = `down_blocks.${i}`;
    for (let j = 0; j < stage.layers; j++) {
      resnet(`${block}.resnets.${j}`, channels, stage.channels);
      if (stage.attention) transformer(layers, config, stage, `${block}.attentions.${j}`, j);
      channels = stage.channels;
      skips.push(channels);
    }
    if (i < config.down.length - 1) {
      layers.conv(`${block}.downsamplers.0.conv`, channels, channels);
      skips.push(channels);
    }
  });

  resnet("mid_block.resnets.0", channels, channels);
  for (let j = 0; j < config.mid.layers; j++) {
    transformer(layers, config, config.mid, `mid_block.attentions.${j}`, j);
    resnet(`mid_block.resnets.${j + 1}`, channels, channels);
  }

  config.up.forEach((stage, i) => {
    const block = `up_blocks.${i}`;
    for (let j = 0; j < stage.layers; j++) {
      resnet(`${block}.resnets.${j}`, channels + skips.pop()!, stage.channels);
      if (stage.attention) transformer(layers, config, stage, `${block}.attentions.${j}`, j);
      channels = stage.channels;
    }
    if (i < config.up.length - 1) layers.conv(`${block}.upsamplers.0.conv`, channels, channels);
  });

  layers.norm("conv_norm_out", channels);
  layers.conv("conv_out", channels, config.outChannels, config.kernelOut);
  return layers.build();
}

/** diffusers' `TimestepEmbedding`. */
function embedding(layers: LayoutBuilder, key: string, from: number, to: number): void {
  layers.linear(`${key}.linear_1`, from, to);
  layers.linear(`${key}.linear_2`, to, to);
}

/** diffusers' `Transformer2DModel`. */
function transformer(
  layers: LayoutBuilder,
  config: UnetConfig,
  stage: StageConfig,
  key: string,
  layer: number,
): void {
  const { channels, crossAttentionDim } = stage;
  const project = config.linearProjection ? [channels, channels] : [channels, channels, 1, 1];
  layers.norm(`${key}.norm`, channels);
  layers.weight(`${key}.proj_in`, project);
  for (let i = 0; i < stage.transformerLayers[layer]!; i++) {
    const block = `${key}.transformer_blocks.${i}`;
    for (const norm of ["norm1", "norm2", "norm3"]) layers.norm(`${block}.${norm}`, channels);
    attention(layers, `${block}.attn1`, channels, stage.onlyCrossAttention ? crossAttentionDim : channels);
    attention(layers, `${block}.attn2`, channels, crossAttentionDim);
    layers.linear(`${block}.ff.net.0.proj`, channels, 8 * channels);
    layers.linear(`${block}.ff.net.2`, 4 * channels, channels);
  }
  layers.weight(`${key}.proj_out`, project);
}

function attention(layers: LayoutBuilder, key: string, channels: number, context: number): void {
  layers.linear(`${key}.to_q`, channels, channels, { bias: false });
  layers.linear(`${key}.to_k`, context, channels, { bias: false });
  layers.linear(`${key}.to_v`, context, channels, { bias: false });
  layers.linear(`${key}.to_out.0`, channels, channels);
}
