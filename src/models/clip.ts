/** @file CLIP whole: pictures and texts in one space (transformers `CLIPModel`). */

import { z } from "zod";
import { div, exp, matmul, mul, sqrt, sum, transpose, type Value } from "../graph/index.js";
import { failure } from "../tensor/index.js";
import type { Scope } from "../weights/index.js";
import { type ClipTextConfig, type ClipTextOutputs, clipText, readClipTextConfig } from "./clip-text.js";
import {
  type ClipVisionConfig,
  type ClipVisionOutputs,
  clipVision,
  readClipVisionConfig,
} from "./clip-vision.js";
import { only, readConfig, size, withDefault } from "./config.js";

const tower = z.looseObject({}).nullish();
const schema = z.looseObject({
  model_type: only("clip"),
  projection_dim: withDefault(size, 512),
  logit_scale_init_value: withDefault(z.number(), 2.6592),
  text_config: tower,
  vision_config: tower,
  // Older files say the same twice, and what they say here counts.
  text_config_dict: tower,
  vision_config_dict: tower,
});

export interface ClipConfig {
  text: ClipTextConfig;
  vision: ClipVisionConfig;
  /** The logarithm of the logits' factor that training starts from. */
  logitScale: number;
}

/**
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 * @see https://huggingface.co/docs/transformers/model_doc/clip
 */
export function readClipConfig(json: unknown): ClipConfig {
  const c = readConfig(schema, json, "CLIP");
  // Both towers meet in one space, whatever their own configs say of it.
  const projection_dim = c.projection_dim;
  return {
    text: readClipTextConfig({ ...c.text_config, ...c.text_config_dict, projection_dim }),
    vision: readClipVisionConfig({ ...c.vision_config, ...c.vision_config_dict, projection_dim }),
    logitScale: c.logit_scale_init_value,
  };
}

export interface ClipInputs {
  /** [B, 3, H, W], normalised as the checkpoint's preprocessor does */
  pixels: Value;
  /** Tokens [N, T] (i64) */
  ids: Value;
  /** The position of each text's end [N] (i64), from `pooledIndex`. */
  eosIndex: Value;
  /** As in `clipVision`. */
  visible?: Value | undefined;
}

export interface ClipOutputs {
  text: ClipTextOutputs;
  vision: ClipVisionOutputs;
  /** Unit vectors [B, projection_dim] */
  imageEmbeds: Value;
  /** Unit vectors [N, projection_dim] */
  textEmbeds: Value;
  /** The logarithm of the logits' factor, as stored: [] */
  logitScale: Value;
  /** exp(logit_scale) times the cosines [B, N] */
  logitsPerImage: Value;
  /** The same [N, B] */
  logitsPerText: Value;
}

/** Every picture beside every text. */
export function clip(w: Scope, config: ClipConfig, inputs: ClipInputs): ClipOutputs {
  const vision = clipVision(w, config.vision, inputs.pixels, { visible: inputs.visible });
  const text = clipText(w, config.text, inputs.ids, inputs.eosIndex);
  if (!vision.imageEmbeds || !text.textEmbeds) {
    const missing = vision.imageEmbeds ? "text_projection" : "visual_projection";
    throw failure("WEIGHT_MISSING", `This is no whole CLIP: it has no tensor "${missing}.weight".`);
  }
  const imageEmbeds = unitVectors(vision.imageEmbeds);
  const textEmbeds = unitVectors(text.textEmbeds);
  const logitScale = w.parameter("logit_scale", []);
  const logitsPerText = mul(matmul(textEmbeds, transpose(imageEmbeds, [1, 0])), exp(logitScale));
  const logitsPerImage = transpose(logitsPerText, [1, 0]);
  return { text, vision, imageEmbeds, textEmbeds, logitScale, logitsPerImage, logitsPerText };
}

/** Rows of length 1: [N, C] -> [N, C] */
export function unitVectors(x: Value): Value {
  return div(x, sqrt(sum(mul(x, x), -1)));
}
