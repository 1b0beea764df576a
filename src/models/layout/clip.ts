/** @file The tensors of CLIP and of its towers (transformers `CLIPModel`, `CLIPTextModel`, `CLIPVisionModel`). */

import { z } from "zod";
import { readClipConfig } from "../clip.js";
import type { ClipLayerConfig } from "../clip-layer.js";
import { type ClipTextConfig, readClipTextConfig } from "../clip-text.js";
import { type ClipVisionConfig, readClipVisionConfig } from "../clip-vision.js";
import { readConfig, withDefault } from "../config.js";
import { type Layout, LayoutBuilder } from "./layout.js";

/** How transformers starts them: every standard deviation is scaled by the factor. */
const schema = z.looseObject({
  initializer_factor: withDefault(z.number().positive(), 1),
  initializer_range: withDefault(z.number().positive(), 0.02),
  architectures: z.array(z.string()).nullish(),
});

interface Starts {
  initializer_factor: number;
  initializer_range: number;
}

const readStarts = (json: unknown) => readConfig(schema, json ?? {}, "CLIP");

export interface ClipLayoutOptions {
  /** With the buffers of positions that files from before transformers 4.31 hold. */
  early?: boolean;
}

/**
 * A text encoder; with its projection when the config's architecture is `CLIPTextModelWithProjection`.
 * @param json its config.json
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 */
export function clipTextLayout(json: unknown, { early = false }: ClipLayoutOptions = {}): Layout {
  const config = readClipTextConfig(json);
  const starts = readStarts(json);
  const layers = new LayoutBuilder();
  textTower(layers, config, starts, early);
  if (starts.architectures?.includes("CLIPTextModelWithProjection")) {
    projection(layers, "text_projection", config, starts.initializer_factor);
  }
  return layers.build();
}

/**
 * An image encoder; with its projection when the config's architecture is `CLIPVisionModelWithProjection`.
 * @param json its config.json
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 */
export function clipVisionLayout(json: unknown, { early = false }: ClipLayoutOptions = {}): Layout {
  const config = readClipVisionConfig(json);
  const starts = readStarts(json);
  const layers = new LayoutBuilder();
  visionTower(layers, config, starts, early);
  if (starts.architectures?.includes("CLIPVisionModelWithProjection")) {
    projection(layers, "visual_projection", config, starts.initializer_factor);
  }
  return layers.build();
}

/**
 * Both towers, their projections and the logits' factor.
 * @param json its config.json
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 */
export function clipLayout(json: unknown, { early = false }: ClipLayoutOptions = {}): Layout {
  const config = readClipConfig(json);
  const { text_config, vision_config } = json as { text_config?: unknown; vision_config?: unknown };
  const { initializer_factor } = readStarts(json);
  const layers = new LayoutBuilder();
  textTower(layers, config.text, readStarts(text_config), early);
  visionTower(layers, config.vision, readStarts(vision_config), early);
  projection(layers, "text_projection", config.text, initializer_factor);
  projection(layers, "visual_projection", config.vision, initializer_factor);
  layers.add("logit_scale", [], "scale", { kind: "constant", value: config.logitScale });
  return layers.build();
}

function textTower(layers: LayoutBuilder, config: ClipTextConfig, starts: Starts, early: boolean): void {
  const { hiddenSize, maxPositions, vocabSize } = config;
  const factor = starts.initializer_factor;
  const place = "text_model.embeddings";
  const bias = false;
  if (early) layers.positions(`${place}.position_ids`, maxPositions);
  // 0.02 whatever initializer_range says
  layers.normal(`${place}.token_embedding`, [vocabSize, hiddenSize], 0.02 * factor, { bias });
  layers.normal(`${place}.position_embedding`, [maxPositions, hiddenSize], 0.02 * factor, { bias });
  encoder(layers, "text_model.encoder", config, factor);
  layers.norm("text_model.final_layer_norm", hiddenSize);
}

function visionTower(layers: LayoutBuilder, config: ClipVisionConfig, starts: Starts, early: boolean): void {
  const { channels, grid, hiddenSize, patchSize } = config;
  const { initializer_factor: factor, initializer_range: range } = starts;
  const positions = 1 + grid ** 2;
  const place = "vision_model.embeddings";
  const bias = false;
  if (early) layers.positions(`${place}.position_ids`, positions);
  const start = { kind: "normal", std: hiddenSize ** -0.5 * factor } as const;
  layers.add(`${place}.class_embedding`, [hiddenSize], "weight", start);
  const patch = [hiddenSize, channels, patchSize, patchSize];
  layers.normal(`${place}.patch_embedding`, patch, range * factor, { bias });
  layers.normal(`${place}.position_embedding`, [positions, hiddenSize], range * factor, { bias });
  layers.norm("vision_model.pre_layrnorm", hiddenSize); // spelt so in the files
  encoder(layers, "vision_model.encoder", config, factor);
  layers.norm("vision_model.post_layernorm", hiddenSize);
}

/** The deeper the tower, the smaller what each layer adds. */
function encoder(
  layers: LayoutBuilder,
  key: string,
  config: ClipLayerConfig & { layers: number },
  factor: number,
): void {
  const { hiddenSize, intermediateSize } = config;
  const wide = hiddenSize ** -0.5 * factor;
  const narrow = wide * (2 * config.layers) ** -0.5;
  for (let i = 0; i < config.layers; i++) {
    const layer = `${key}.layers.${i}`;
    for (const name of ["q_proj", "k_proj", "v_proj"]) {
      layers.normal(`${layer}.self_attn.${name}`, [hiddenSize, hiddenSize], narrow);
    }
    layers.normal(`${layer}.self_attn.out_proj`, [hiddenSize, hiddenSize], wide);
    layers.norm(`${layer}.layer_norm1`, hiddenSize);
    layers.norm(`${layer}.layer_norm2`, hiddenSize);
    layers.normal(`${layer}.mlp.fc1`, [intermediateSize, hiddenSize], (2 * hiddenSize) ** -0.5 * factor);
    layers.normal(`${layer}.mlp.fc2`, [hiddenSize, intermediateSize], narrow);
  }
}

function projection(
  layers: LayoutBuilder,
  key: string,
  { hiddenSize, projectionDim }: { hiddenSize: number; projectionDim: number },
  factor: number,
): void {
  layers.normal(key, [projectionDim, hiddenSize], hiddenSize ** -0.5 * factor, { bias: false });
}
