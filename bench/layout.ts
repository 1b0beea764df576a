/** @file The tensors of a checkpoint, key by key, from nothing but its configs. */

import {
  type ClipTextConfig,
  readClipTextConfig,
  readUnetConfig,
  readVaeConfig,
  type UnetConfig,
  type VaeConfig,
} from "../src/models/index.js";
import { count, type DType } from "../src/tensor/index.js";

/** What a tensor is for decides how large random numbers in it may be. */
export type Role = "weight" | "bias" | "scale" | "positions";

export interface Planned {
  key: string;
  dims: number[];
  role: Role;
  dtype?: DType;
}

/** Collects a network's tensors in the order in which its layers are named. */
class Plan {
  readonly tensors: Planned[] = [];

  add(key: string, dims: number[], role: Role = "weight"): void {
    this.tensors.push({ key, dims, role });
  }

  weightAndBias(key: string, dims: number[]): void {
    this.add(`${key}.weight`, dims);
    this.add(`${key}.bias`, [dims[0]!], "bias");
  }

  norm(key: string, channels: number): void {
    this.add(`${key}.weight`, [channels], "scale");
    this.add(`${key}.bias`, [channels], "bias");
  }

  conv(key: string, from: number, to: number, kernel = 3): void {
    this.weightAndBias(key, [to, from, kernel, kernel]);
  }

  linear(key: string, from: number, to: number): void {
    this.weightAndBias(key, [to, from]);
  }

  resnet(key: string, from: number, to: number, time?: number): void {
    this.norm(`${key}.norm1`, from);
    this.conv(`${key}.conv1`, from, to);
    if (time !== undefined) this.linear(`${key}.time_emb_proj`, time, to);
    this.norm(`${key}.norm2`, to);
    this.conv(`${key}.conv2`, to, to);
    if (from !== to) this.conv(`${key}.conv_shortcut`, from, to, 1);
  }

  /** As safetensors' own writer orders them: wide types first, then by name. */
  sorted(): Planned[] {
    const wide = ({ dtype }: Planned) => (dtype === "i64" ? 0 : 1);
    return this.tensors.sort((a, b) => wide(a) - wide(b) || (a.key < b.key ? -1 : 1));
  }
}

export function unetTensors(json: unknown): Planned[] {
  const config = readUnetConfig(json);
  const plan = new Plan();
  const width = config.down[0]!.channels;
  const time = 4 * width;
  const transformer = (key: string, stage: UnetConfig["mid"], layer: number) => {
    const { channels, crossAttentionDim } = stage;
    const project = config.linearProjection ? [channels, channels] : [channels, channels, 1, 1];
    plan.norm(`${key}.norm`, channels);
    plan.weightAndBias(`${key}.proj_in`, project);
    for (let i = 0; i < stage.transformerLayers[layer]!; i++) {
      const block = `${key}.transformer_blocks.${i}`;
      for (const norm of ["norm1", "norm2", "norm3"]) plan.norm(`${block}.${norm}`, channels);
      for (const [attention, context] of [
        ["attn1", channels],
        ["attn2", crossAttentionDim],
      ] as const) {
        plan.add(`${block}.${attention}.to_q.weight`, [channels, channels]);
        plan.add(`${block}.${attention}.to_k.weight`, [channels, context]);
        plan.add(`${block}.${attention}.to_v.weight`, [channels, context]);
        plan.linear(`${block}.${attention}.to_out.0`, channels, channels);
      }
      plan.linear(`${block}.ff.net.0.proj`, channels, 8 * channels);
      plan.linear(`${block}.ff.net.2`, 4 * channels, channels);
    }
    plan.weightAndBias(`${key}.proj_out`, project);
  };

  plan.conv("conv_in", config.inChannels, width, config.kernelIn);
  plan.linear("time_embedding.linear_1", width, time);
  plan.linear("time_embedding.linear_2", time, time);

  const skips = [width];
  let channels = width;
  config.down.forEach((stage, i) => {
    for (let j = 0; j < stage.layers; j++) {
      plan.resnet(`down_blocks.${i}.resnets.${j}`, channels, stage.channels, time);
      if (stage.attention) transformer(`down_blocks.${i}.attentions.${j}`, stage, j);
      channels = stage.channels;
      skips.push(channels);
    }
    if (i < config.down.length - 1) {
      plan.conv(`down_blocks.${i}.downsamplers.0.conv`, channels, channels);
      skips.push(channels);
    }
  });

  plan.resnet("mid_block.resnets.0", channels, channels, time);
  for (let j = 0; j < config.mid.layers; j++) {
    transformer(`mid_block.attentions.${j}`, config.mid, j);
    plan.resnet(`mid_block.resnets.${j + 1}`, channels, channels, time);
  }

  config.up.forEach((stage, i) => {
    for (let j = 0; j < stage.layers; j++) {
      plan.resnet(`up_blocks.${i}.resnets.${j}`, channels + skips.pop()!, stage.channels, time);
      if (stage.attention) transformer(`up_blocks.${i}.attentions.${j}`, stage, j);
      channels = stage.channels;
    }
    if (i < config.up.length - 1) plan.conv(`up_blocks.${i}.upsamplers.0.conv`, channels, channels);
  });

  plan.norm("conv_norm_out", channels);
  plan.conv("conv_out", channels, config.outChannels, config.kernelOut);
  return plan.sorted();
}

/** Names of the middle's attention: files from before diffusers 0.12, as both published ones are, have other ones. */
const vaeAttention = ["query", "key", "value", "proj_attn"];

export function vaeTensors(json: unknown): Planned[] {
  const config = readVaeConfig(json);
  const levels = (json as { block_out_channels: number[] }).block_out_channels;
  const deepest = levels.at(-1)!;
  const plan = new Plan();
  const middle = (key: string) => {
    plan.resnet(`${key}.resnets.0`, deepest, deepest);
    if (config.midAttention) {
      plan.norm(`${key}.attentions.0.group_norm`, deepest);
      for (const name of vaeAttention) plan.linear(`${key}.attentions.0.${name}`, deepest, deepest);
    }
    plan.resnet(`${key}.resnets.1`, deepest, deepest);
  };
  const ends = (key: string, { inner, outer }: { inner: number; outer: number }) => {
    plan.norm(`${key}.conv_norm_out`, inner);
    plan.conv(`${key}.conv_out`, inner, outer);
  };

  vaeEncoder(plan, config, levels);
  middle("encoder.mid_block");
  ends("encoder", { inner: deepest, outer: 2 * config.latentChannels });
  if (config.quantConv) plan.conv("quant_conv", 2 * config.latentChannels, 2 * config.latentChannels, 1);

  if (config.postQuantConv) plan.conv("post_quant_conv", config.latentChannels, config.latentChannels, 1);
  plan.conv("decoder.conv_in", config.latentChannels, deepest);
  middle("decoder.mid_block");
  vaeDecoder(plan, config, levels);
  ends("decoder", { inner: levels[0]!, outer: config.outChannels });
  return plan.sorted();
}

function vaeEncoder(plan: Plan, config: VaeConfig, levels: readonly number[]): void {
  plan.conv("encoder.conv_in", config.inChannels, levels[0]!);
  let channels = levels[0]!;
  levels.forEach((width, i) => {
    for (let j = 0; j < config.layersPerBlock; j++) {
      plan.resnet(`encoder.down_blocks.${i}.resnets.${j}`, channels, width);
      channels = width;
    }
    if (i < levels.length - 1) plan.conv(`encoder.down_blocks.${i}.downsamplers.0.conv`, width, width);
  });
}

function vaeDecoder(plan: Plan, config: VaeConfig, levels: readonly number[]): void {
  let channels = levels.at(-1)!;
  [...levels].reverse().forEach((width, i) => {
    for (let j = 0; j <= config.layersPerBlock; j++) {
      plan.resnet(`decoder.up_blocks.${i}.resnets.${j}`, channels, width);
      channels = width;
    }
    if (i < levels.length - 1) plan.conv(`decoder.up_blocks.${i}.upsamplers.0.conv`, width, width);
  });
}

export function textTensors(json: unknown): Planned[] {
  const config: ClipTextConfig = readClipTextConfig(json);
  const { hiddenSize, intermediateSize, maxPositions } = config;
  const plan = new Plan();
  const ids = "text_model.embeddings.position_ids";
  plan.tensors.push({ key: ids, dims: [1, maxPositions], role: "positions", dtype: "i64" });
  plan.add("text_model.embeddings.token_embedding.weight", [config.vocabSize, hiddenSize]);
  plan.add("text_model.embeddings.position_embedding.weight", [maxPositions, hiddenSize]);
  for (let i = 0; i < config.layers; i++) {
    const layer = `text_model.encoder.layers.${i}`;
    for (const name of ["q_proj", "k_proj", "v_proj", "out_proj"]) {
      plan.linear(`${layer}.self_attn.${name}`, hiddenSize, hiddenSize);
    }
    plan.norm(`${layer}.layer_norm1`, hiddenSize);
    plan.norm(`${layer}.layer_norm2`, hiddenSize);
    plan.linear(`${layer}.mlp.fc1`, hiddenSize, intermediateSize);
    plan.linear(`${layer}.mlp.fc2`, intermediateSize, hiddenSize);
  }
  plan.norm("text_model.final_layer_norm", hiddenSize);
  return plan.sorted();
}

/** Trained numbers: what papers count. */
export function parameterCount(tensors: readonly Planned[]): number {
  return tensors.reduce((sum, { dims, role }) => sum + (role === "positions" ? 0 : count(dims)), 0);
}
