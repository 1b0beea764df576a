/** @file UNet2DConditionModel's config: diffusers' fields and defaults. */

import { z } from "zod";
import { failure } from "../../tensor/index.js";
import { only, readConfig, size, withDefault } from "../config.js";
import { type ActivationName, activationNames } from "../layers.js";

const perBlock = <T>(one: z.ZodType<T>) => z.union([one, z.array(one)]);

// What diffusers reads for other kinds of blocks only is left out: resnet_skip_time_act, resnet_out_scale_factor,
// mid_block_only_cross_attention.
const schema = z.looseObject({
  _class_name: only("UNet2DConditionModel"),
  in_channels: withDefault(size, 4),
  out_channels: withDefault(size, 4),
  sample_size: z.union([size, z.array(size).length(2)]).nullish(),
  center_input_sample: withDefault(z.boolean(), false),
  flip_sin_to_cos: withDefault(z.boolean(), true),
  freq_shift: withDefault(z.number(), 0),
  down_block_types: withDefault(z.array(z.enum(["CrossAttnDownBlock2D", "DownBlock2D"])), [
    "CrossAttnDownBlock2D",
    "CrossAttnDownBlock2D",
    "CrossAttnDownBlock2D",
    "DownBlock2D",
  ]),
  mid_block_type: only("UNetMidBlock2DCrossAttn"),
  up_block_types: withDefault(z.array(z.enum(["CrossAttnUpBlock2D", "UpBlock2D"])), [
    "UpBlock2D",
    "CrossAttnUpBlock2D",
    "CrossAttnUpBlock2D",
    "CrossAttnUpBlock2D",
  ]),
  only_cross_attention: withDefault(perBlock(z.boolean()), false),
  block_out_channels: withDefault(z.array(size).min(1), [320, 640, 1280, 1280]),
  layers_per_block: withDefault(perBlock(size), 2),
  downsample_padding: withDefault(z.union([z.literal(0), z.literal(1)]), 1),
  mid_block_scale_factor: withDefault(z.number(), 1),
  act_fn: withDefault(z.enum(activationNames), "silu"),
  norm_num_groups: withDefault(size, 32),
  norm_eps: withDefault(z.number().positive(), 1e-5),
  cross_attention_dim: withDefault(perBlock(size), 1280),
  transformer_layers_per_block: withDefault(perBlock(perBlock(size)), 1),
  reverse_transformer_layers_per_block: z.array(perBlock(size)).nullish(),
  attention_head_dim: withDefault(perBlock(size), 8),
  num_attention_heads: only(null),
  dual_cross_attention: only(false, null),
  use_linear_projection: withDefault(z.boolean(), false),
  class_embed_type: only(null),
  num_class_embeds: only(null),
  addition_embed_type: z.literal("text_time").nullish(),
  addition_time_embed_dim: size.nullish(),
  upcast_attention: z.boolean().nullish(),
  resnet_time_scale_shift: withDefault(z.enum(["default", "scale_shift"]), "default"),
  time_embedding_type: only("positional", null),
  time_embedding_dim: size.nullish(),
  time_embedding_act_fn: only(null),
  timestep_post_act: only(null),
  time_cond_proj_dim: only(null),
  conv_in_kernel: withDefault(size, 3),
  conv_out_kernel: withDefault(size, 3),
  projection_class_embeddings_input_dim: size.nullish(),
  attention_type: only("default", null),
  class_embeddings_concat: only(false, null),
  cross_attention_norm: only(null),
  encoder_hid_dim: only(null),
  encoder_hid_dim_type: only(null),
});

/** What one stage of the U-Net is made of, lists and defaults resolved. */
export interface StageConfig {
  channels: number;
  layers: number;
  attention: boolean;
  heads: number;
  transformerLayers: readonly number[];
  crossAttentionDim: number;
  onlyCrossAttention: boolean;
}

export interface UnetConfig {
  inChannels: number;
  outChannels: number;
  /** The latent's side that the checkpoint was trained on. */
  sampleSize: readonly [number, number] | undefined;
  centerInputSample: boolean;
  flipSinToCos: boolean;
  freqShift: number;
  down: readonly StageConfig[];
  mid: StageConfig;
  up: readonly StageConfig[];
  downsamplePadding: 0 | 1;
  midScaleFactor: number;
  activation: ActivationName;
  groups: number;
  eps: number;
  linearProjection: boolean;
  additionEmbed: "text_time" | null;
  additionTimeEmbedDim: number;
  /** Channels of what SDXL adds to the time: the pooled text beside the sinusoids of the sizes. */
  additionInputDim: number;
  /** Channels of the time's embedding. */
  timeEmbedDim: number;
  timeScaleShift: boolean;
  kernelIn: number;
  kernelOut: number;
}

function list<T>(field: string, value: T | readonly T[], blocks: number): readonly T[] {
  const values: readonly T[] = Array.isArray(value) ? value : Array<T>(blocks).fill(value as T);
  if (values.length !== blocks) {
    throw failure("CONFIG", `U-Net config: ${field} has ${values.length} entries for ${blocks} blocks.`);
  }
  return values;
}

/**
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 * @see https://huggingface.co/docs/diffusers/api/models/unet2d-cond
 */
export function readUnetConfig(json: unknown): UnetConfig {
  const c = readConfig(schema, json, "U-Net");
  const blocks = c.block_out_channels.length;
  const channels = c.block_out_channels;
  list("down_block_types", c.down_block_types, blocks);
  list("up_block_types", c.up_block_types, blocks);
  const layers = list("layers_per_block", c.layers_per_block, blocks);
  // Named a dimension, used as the number of heads (diffusers issue 2011).
  const heads = list("attention_head_dim", c.attention_head_dim, blocks);
  const crossDims = list("cross_attention_dim", c.cross_attention_dim, blocks);
  const onlyCross = list("only_cross_attention", c.only_cross_attention, blocks);
  const depth = list<number | readonly number[]>(
    "transformer_layers_per_block",
    c.transformer_layers_per_block,
    blocks,
  );
  const reversedDepth = c.reverse_transformer_layers_per_block;
  if (!reversedDepth && depth.some((layersOf) => typeof layersOf !== "number")) {
    throw failure(
      "CONFIG",
      "U-Net config: transformer_layers_per_block with lists in it needs reverse_transformer_layers_per_block.",
    );
  }
  const depthUp = reversedDepth
    ? list<number | readonly number[]>("reverse_transformer_layers_per_block", reversedDepth, blocks)
    : [...depth].reverse();

  const stage = (
    i: number,
    count: number,
    attention: boolean,
    layersOf: number | readonly number[],
    field = "transformer_layers_per_block",
  ): StageConfig => {
    if (attention && typeof layersOf !== "number" && layersOf.length < count) {
      throw failure(
        "CONFIG",
        `U-Net config: ${field} has a list of ${layersOf.length} for a block of ${count} layers.`,
      );
    }
    if (attention && channels[i]! % heads[i]!) {
      throw failure(
        "CONFIG",
        `U-Net config: ${channels[i]} channels do not divide into attention_head_dim ${heads[i]} heads.`,
      );
    }
    return {
      channels: channels[i]!,
      layers: count,
      attention,
      heads: heads[i]!,
      transformerLayers: typeof layersOf === "number" ? Array<number>(count).fill(layersOf) : layersOf,
      crossAttentionDim: crossDims[i]!,
      onlyCrossAttention: onlyCross[i]!,
    };
  };
  const last = blocks - 1;
  const sample = c.sample_size ?? undefined;
  if (c.addition_embed_type && !c.addition_time_embed_dim) {
    throw failure("CONFIG", "U-Net config: addition_embed_type text_time needs addition_time_embed_dim.");
  }
  return {
    inChannels: c.in_channels,
    outChannels: c.out_channels,
    sampleSize: typeof sample === "number" ? [sample, sample] : (sample as [number, number] | undefined),
    centerInputSample: c.center_input_sample,
    flipSinToCos: c.flip_sin_to_cos,
    freqShift: c.freq_shift,
    down: channels.map((_, i) =>
      stage(i, layers[i]!, c.down_block_types[i] === "CrossAttnDownBlock2D", depth[i]!),
    ),
    // The mid block attends to itself whatever only_cross_attention says.
    mid: { ...stage(last, 1, true, depth[last]!), onlyCrossAttention: false },
    up: channels.map((_, i) => {
      const level = last - i;
      const attention = c.up_block_types[i] === "CrossAttnUpBlock2D";
      return stage(level, layers[level]! + 1, attention, depthUp[i]!, "reverse_transformer_layers_per_block");
    }),
    downsamplePadding: c.downsample_padding,
    midScaleFactor: c.mid_block_scale_factor,
    activation: c.act_fn,
    groups: c.norm_num_groups,
    eps: c.norm_eps,
    linearProjection: c.use_linear_projection,
    additionEmbed: c.addition_embed_type ?? null,
    additionTimeEmbedDim: c.addition_time_embed_dim ?? 0,
    additionInputDim: c.projection_class_embeddings_input_dim ?? 0,
    timeEmbedDim: c.time_embedding_dim ?? 4 * channels[0]!,
    timeScaleShift: c.resnet_time_scale_shift === "scale_shift",
    kernelIn: c.conv_in_kernel,
    kernelOut: c.conv_out_kernel,
  };
}
