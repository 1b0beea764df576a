/** @file The configs of Stable Diffusion 1.5 and 2.1-base and of CLIP-L/14-336, as their folders on the hub hold them. */

type Json = Record<string, unknown>;

export interface PublishedModel {
  index: Json;
  unet: Json;
  vae: Json;
  textEncoder: Json;
  scheduler: Json;
  /** The token that fills a prompt up to 77. */
  padding: string;
}

function unet(own: Json): Json {
  return {
    _class_name: "UNet2DConditionModel",
    _diffusers_version: "0.10.0.dev0",
    act_fn: "silu",
    block_out_channels: [320, 640, 1280, 1280],
    center_input_sample: false,
    down_block_types: ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    downsample_padding: 1,
    flip_sin_to_cos: true,
    freq_shift: 0,
    in_channels: 4,
    layers_per_block: 2,
    mid_block_scale_factor: 1,
    norm_eps: 1e-5,
    norm_num_groups: 32,
    out_channels: 4,
    sample_size: 64,
    up_block_types: ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    ...own,
  };
}

function vae(sampleSize: number): Json {
  return {
    _class_name: "AutoencoderKL",
    _diffusers_version: "0.10.0.dev0",
    act_fn: "silu",
    block_out_channels: [128, 256, 512, 512],
    down_block_types: [
      "DownEncoderBlock2D",
      "DownEncoderBlock2D",
      "DownEncoderBlock2D",
      "DownEncoderBlock2D",
    ],
    in_channels: 3,
    latent_channels: 4,
    layers_per_block: 2,
    norm_num_groups: 32,
    out_channels: 3,
    sample_size: sampleSize,
    up_block_types: ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
  };
}

/** Without the fields that only training reads: transformers wants their 1.0 and 0.0 spelt so, and JSON of numbers is 1 and 0. */
function textEncoder(own: Json): Json {
  return {
    architectures: ["CLIPTextModel"],
    bos_token_id: 0,
    eos_token_id: 2,
    layer_norm_eps: 1e-5,
    max_position_embeddings: 77,
    model_type: "clip_text_model",
    pad_token_id: 1,
    torch_dtype: "float32",
    transformers_version: "4.25.0.dev0",
    vocab_size: 49408,
    ...own,
  };
}

const index: Json = {
  _class_name: "StableDiffusionPipeline",
  _diffusers_version: "0.10.0.dev0",
  feature_extractor: [null, null],
  requires_safety_checker: false,
  safety_checker: [null, null],
  scheduler: ["diffusers", "PNDMScheduler"],
  text_encoder: ["transformers", "CLIPTextModel"],
  tokenizer: ["transformers", "CLIPTokenizer"],
  unet: ["diffusers", "UNet2DConditionModel"],
  vae: ["diffusers", "AutoencoderKL"],
};

const scheduler: Json = {
  _class_name: "PNDMScheduler",
  _diffusers_version: "0.10.0.dev0",
  beta_end: 0.012,
  beta_schedule: "scaled_linear",
  beta_start: 0.00085,
  clip_sample: false,
  num_train_timesteps: 1000,
  prediction_type: "epsilon",
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
  trained_betas: null,
};

export const published = {
  "sd21-base": {
    index,
    unet: unet({
      attention_head_dim: [5, 10, 20, 20],
      cross_attention_dim: 1024,
      dual_cross_attention: false,
      only_cross_attention: false,
      use_linear_projection: true,
    }),
    vae: vae(768),
    textEncoder: textEncoder({
      hidden_act: "gelu",
      hidden_size: 1024,
      intermediate_size: 4096,
      num_attention_heads: 16,
      num_hidden_layers: 23,
      projection_dim: 512,
    }),
    scheduler,
    padding: "!",
  },
  sd15: {
    index,
    unet: unet({ attention_head_dim: 8, cross_attention_dim: 768 }),
    vae: vae(512),
    textEncoder: textEncoder({
      hidden_act: "quick_gelu",
      hidden_size: 768,
      intermediate_size: 3072,
      num_attention_heads: 12,
      num_hidden_layers: 12,
      projection_dim: 768,
    }),
    scheduler,
    padding: "<|endoftext|>",
  },
} satisfies Record<string, PublishedModel>;

export type PublishedName = keyof typeof published;

/** The vision tower of openai/clip-vit-large-patch14-336, LLaVA-1.5's eye. */
export const clipLarge336: Json = {
  architectures: ["CLIPVisionModel"],
  model_type: "clip_vision_model",
  hidden_act: "quick_gelu",
  hidden_size: 1024,
  image_size: 336,
  intermediate_size: 4096,
  num_attention_heads: 16,
  num_hidden_layers: 24,
  patch_size: 14,
  projection_dim: 768,
};
