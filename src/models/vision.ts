/** @file Any vision encoder behind one interface: CLIP, DINOv2, SigLIP. Which it is, its config.json says. */

import { z } from "zod";
import { concat, slice, type Value } from "../graph/index.js";
import { type PreprocessorConfig, readPreprocessorConfig } from "../image/index.js";
import { misuse } from "../tensor/index.js";
import type { Scope } from "../weights/index.js";
import { readClipConfig } from "./clip.js";
import { clipVision, readClipVisionConfig } from "./clip-vision.js";
import { readConfig } from "./config.js";
import { dinov2, readDinov2Config } from "./dinov2.js";
import { type PatchConfig, patchGrid } from "./patches.js";
import { readSiglipVisionConfig, siglipVision } from "./siglip.js";

export interface VisionStates {
  /** The embeddings, then the states after each layer [B, T, C], without the last norm. */
  hiddenStates: Value[];
  /** transformers' `last_hidden_state`: with the last norm, but for CLIP, which norms the class token alone. */
  lastHiddenState: Value;
  /** The picture as one vector [B, C]; where the network makes one. */
  pooled: Value | undefined;
}

export interface VisionEncoder extends Readonly<PatchConfig> {
  readonly kind: "clip" | "dinov2" | "siglip";
  /** Tokens before the patches: 1 or none. */
  readonly classTokens: 0 | 1;
  /** Tokens between the class token and the patches. */
  readonly registers: number;
  /** For folders that hold no preprocessor_config.json: size, mean and deviation of the checkpoint's own kind. */
  readonly preprocessor: PreprocessorConfig;
  /**
   * @param pixels [B, channels, H, W], normalised; sizes other than the trained one get resized positions
   * @throws DiffsightError IMAGE_SIZE when not even one patch fits
   */
  states(w: Scope, pixels: Value): VisionStates;
}

const schema = z.looseObject({
  model_type: z.enum([
    "clip",
    "clip_vision_model",
    "dinov2",
    "dinov2_with_registers",
    "siglip",
    "siglip_vision_model",
  ]),
  vision_config: z.looseObject({}).nullish(),
});

/**
 * @param json a vision encoder's config.json, or that of a whole CLIP or SigLIP
 * @throws DiffsightError CONFIG for networks and fields that diffsight does not know how to run
 */
export function readVisionEncoder(json: unknown): VisionEncoder {
  const { model_type, vision_config } = readConfig(schema, json, "Vision encoder");
  switch (model_type) {
    case "clip":
    case "clip_vision_model": {
      const config = model_type === "clip" ? readClipConfig(json).vision : readClipVisionConfig(json);
      const states = (w: Scope, pixels: Value) => clipVision(w, config, pixels);
      const preprocessor = processor("CLIPImageProcessor", config.imageSize, {
        shortest_edge: config.imageSize,
      });
      return { ...config, kind: "clip", classTokens: 1, registers: 0, preprocessor, states };
    }
    case "dinov2":
    case "dinov2_with_registers": {
      const config = readDinov2Config(json);
      const states = (w: Scope, pixels: Value) => dinov2(w, config, pixels);
      // 256, then 224 of it: the published ones keep this ratio.
      const edge = Math.round((config.imageSize * 8) / 7);
      const preprocessor = processor(
        "BitImageProcessor",
        config.imageSize,
        { shortest_edge: edge },
        imageNet,
      );
      return { ...config, kind: "dinov2", classTokens: 1, preprocessor, states };
    }
    case "siglip":
    case "siglip_vision_model": {
      const config = readSiglipVisionConfig(model_type === "siglip" ? (vision_config ?? {}) : json);
      const states = (w: Scope, pixels: Value) => siglipVision(w, config, pixels);
      const square = { height: config.imageSize, width: config.imageSize };
      const preprocessor = processor("SiglipImageProcessor", config.imageSize, square);
      return { ...config, kind: "siglip", classTokens: 0, registers: 0, preprocessor, states };
    }
  }
}

const imageNet = { image_mean: [0.485, 0.456, 0.406], image_std: [0.229, 0.224, 0.225] };

function processor(kind: string, side: number, size: object, more: object = {}): PreprocessorConfig {
  const crop_size = { height: side, width: side };
  return readPreprocessorConfig({ image_processor_type: kind, size, crop_size, ...more });
}

/** Which tokens of a state: the patches, row by row; these behind the class token; or the class token alone. */
export type TokenSelection = "patches" | "all" | "class";

export interface TokenOptions {
  /**
   * Index into the hidden states, where 0 are the embeddings and -1 the last layer's; or `last`, which has the last norm.
   * Several are joined along the channels, as LLaVA's `vision_feature_layer` may ask.
   */
  layer: number | "last" | readonly (number | "last")[];
  select: TokenSelection;
}

/**
 * Tokens of a layer: [B, T, C].
 * @throws misuse LAYER, TOKENS for what the encoder does not have
 */
export function visionTokens(
  encoder: VisionEncoder,
  { hiddenStates, lastHiddenState }: VisionStates,
  { layer, select }: TokenOptions,
): Value {
  const state = (index: number | "last") => {
    const found = index === "last" ? lastHiddenState : hiddenStates.at(index);
    if (found && (index === "last" || Number.isInteger(index))) return selected(encoder, found, select);
    const { length } = hiddenStates;
    throw misuse("LAYER", `Layer ${index} is not one of "last" and ${-length} to ${length - 1}.`);
  };
  if (typeof layer === "number" || layer === "last") return state(layer);
  const states = layer.map(state);
  return states.length === 1 ? states[0]! : concat(states, -1);
}

function selected(encoder: VisionEncoder, x: Value, select: TokenSelection): Value {
  const { classTokens, kind, registers } = encoder;
  if (select === "class") {
    if (!classTokens) throw misuse("TOKENS", `This encoder (${kind}) has no class token.`);
    return slice(x, 1, 0, 1);
  }
  const patches = classTokens + registers ? slice(x, 1, classTokens + registers, x.dims[1]!) : x;
  return select === "all" && classTokens ? concat([slice(x, 1, 0, 1), patches], 1) : patches;
}

/** How many tokens a selection has for pictures of a size. */
export function tokenCount(
  encoder: VisionEncoder,
  size: { width: number; height: number },
  select: TokenSelection,
): number {
  if (select === "class") return 1;
  const [rows, columns] = patchGrid(size, encoder.patchSize);
  return rows * columns + (select === "all" ? encoder.classTokens : 0);
}
