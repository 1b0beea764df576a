/** @file What a LLaVA's config.json says, in transformers' layout and in the original one. */

import { z } from "zod";
import type { Fit } from "../image/index.js";
import { readConfig, type TokenOptions } from "../models/index.js";
import { type ProjectorConfig, readProjectorType } from "./projector.js";

export interface LlavaConfig {
  layout: "transformers" | "original";
  /** The vision encoder: its config.json, or the folder or id that it lies in. */
  vision: { config: Record<string, unknown> } | { source: string };
  /** Which of its tokens are projected. */
  tokens: TokenOptions;
  /** How pictures are brought to size; `undefined` when the processor's file says. */
  fit: Fit | undefined;
  projector: ProjectorConfig["type"];
  /** The language model's config.json. */
  language: Record<string, unknown>;
  /** The id that stands for an image; `undefined` in the original, whose ids have none. */
  imageToken: number | undefined;
}

const text = z.string().min(1);
const layers = z.union([z.number().int(), z.array(z.number().int()).min(1)]);
const nothing = z.literal(null).optional();
const off = z.literal(false).nullish();

const transformers = z.looseObject({
  model_type: z.literal("llava"),
  text_config: z.looseObject({}),
  vision_config: z.looseObject({}),
  image_token_index: z.number().int().nonnegative().nullish(),
  image_token_id: z.number().int().nonnegative().nullish(),
  projector_hidden_act: z.literal("gelu").nullish(),
  vision_feature_layer: layers.nullish(),
  vision_feature_select_strategy: z.enum(["default", "full"]).nullish(),
  tie_word_embeddings: z.boolean().nullish(),
});

const original = z.looseObject({
  model_type: z.enum(["llava", "llava_llama", "llava_mistral", "llava_qwen", "llava_qwen2"]),
  mm_vision_tower: text,
  mm_projector_type: text.nullish(),
  mm_vision_select_layer: z.number().int().nullish(),
  mm_vision_select_feature: z.enum(["patch", "cls_patch"]).nullish(),
  image_aspect_ratio: z.enum(["pad", "square"]).nullish(),
  mm_resampler_type: nothing,
  // They would put more tokens around an image.
  mm_use_im_start_end: off,
  mm_use_im_patch_token: off,
});

/** @throws DiffsightError CONFIG for fields that diffsight does not know how to run */
export function readLlavaConfig(json: unknown): LlavaConfig {
  const isOriginal = typeof json === "object" && json !== null && "mm_vision_tower" in json;
  return isOriginal ? readOriginal(json) : readTransformers(json);
}

function readTransformers(json: unknown): LlavaConfig {
  const c = readConfig(transformers, json, "LLaVA");
  const imageToken = c.image_token_id ?? c.image_token_index ?? 32000;
  return {
    layout: "transformers",
    vision: { config: { model_type: "clip_vision_model", ...c.vision_config } },
    tokens: {
      layer: c.vision_feature_layer ?? -2,
      select: c.vision_feature_select_strategy === "full" ? "all" : "patches",
    },
    fit: undefined,
    projector: "mlp2x_gelu",
    language: {
      model_type: "llama",
      ...c.text_config,
      // Said in either place.
      ...(c.tie_word_embeddings && { tie_word_embeddings: true }),
    },
    imageToken,
  };
}

function readOriginal(json: unknown): LlavaConfig {
  const c = readConfig(original, json, "LLaVA");
  const { mm_projector_type: projector } = c;
  return {
    layout: "original",
    vision: { source: c.mm_vision_tower },
    tokens: {
      layer: c.mm_vision_select_layer ?? -2,
      select: c.mm_vision_select_feature === "cls_patch" ? "all" : "patches",
    },
    fit: c.image_aspect_ratio === "pad" ? "pad" : "crop",
    projector: readProjectorType(projector ?? "linear"),
    language: { ...c, model_type: languageOf(c.model_type) },
    imageToken: undefined,
  };
}

function languageOf(modelType: string): "llama" | "mistral" | "qwen2" {
  if (modelType.startsWith("llava_qwen")) return "qwen2";
  return modelType === "llava_mistral" ? "mistral" : "llama";
}
