/** @file CLIP's text encoder (transformers `CLIPTextModel` and `CLIPTextModelWithProjection`). */

import { z } from "zod";
import { add, constant, gather, linear as project, reshape, slice, type Value } from "../graph/index.js";
import { failure, misuse, Tensor } from "../tensor/index.js";
import type { Scope } from "../weights/index.js";
import { type ClipLayerConfig, clipLayer } from "./clip-layer.js";
import { only, readConfig, size, withDefault } from "./config.js";
import { activationNames, embedding, layerNorm } from "./layers.js";

const schema = z.looseObject({
  model_type: only("clip_text_model"),
  vocab_size: withDefault(size, 49408),
  hidden_size: withDefault(size, 512),
  intermediate_size: withDefault(size, 2048),
  projection_dim: withDefault(size, 512),
  num_hidden_layers: withDefault(size, 12),
  num_attention_heads: withDefault(size, 8),
  max_position_embeddings: withDefault(size, 77),
  hidden_act: withDefault(z.enum(activationNames), "quick_gelu"),
  // Pipelines would then mask the padding; Stable Diffusion's do not.
  use_attention_mask: only(false, null),
  layer_norm_eps: withDefault(z.number().positive(), 1e-5),
  eos_token_id: withDefault(z.number().int().nonnegative(), 49407),
});

export interface ClipTextConfig extends ClipLayerConfig {
  vocabSize: number;
  projectionDim: number;
  layers: number;
  /** The longest sequence. */
  maxPositions: number;
  eosTokenId: number;
}

/**
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 * @see https://huggingface.co/docs/transformers/model_doc/clip
 */
export function readClipTextConfig(json: unknown): ClipTextConfig {
  const c = readConfig(schema, json, "CLIP text");
  if (c.hidden_size % c.num_attention_heads) {
    const heads = `num_attention_heads ${c.num_attention_heads}`;
    throw failure("CONFIG", `CLIP text config: hidden_size ${c.hidden_size} does not divide into ${heads}.`);
  }
  return {
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    intermediateSize: c.intermediate_size,
    projectionDim: c.projection_dim,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    maxPositions: c.max_position_embeddings,
    activation: c.hidden_act,
    eps: c.layer_norm_eps,
    eosTokenId: c.eos_token_id,
  };
}

export interface ClipTextOutputs {
  /** The embeddings, then the states after each layer [B, T, C]; none with the final norm. */
  hiddenStates: Value[];
  /** The last of them, with the final norm. */
  lastHiddenState: Value;
  /** Its row at each text's end [B, C]; where `eosIndex` is given. */
  pooled: Value | undefined;
  /** The pooled row projected [B, projection_dim]; where the checkpoint has a projection. */
  textEmbeds: Value | undefined;
}

/**
 * Padding is not masked: Stable Diffusion was trained to see it.
 * @param ids tokens [B, T] (i64), T at most max_position_embeddings
 * @param eosIndex the position of each text's end [B] (i64), from `pooledIndex`
 */
export function clipText(w: Scope, config: ClipTextConfig, ids: Value, eosIndex?: Value): ClipTextOutputs {
  const model = w.has("text_model") ? w.at("text_model") : w;
  const { eps, hiddenSize } = config;
  const [batch, length] = ids.dims;
  if (length! > config.maxPositions) {
    throw misuse(
      "TEXT_LENGTH",
      `A text of ${length} tokens does not fit: the text encoder takes ${config.maxPositions}.`,
    );
  }

  // 1. Embeddings
  const positions = model
    .at("embeddings", "position_embedding")
    .parameter("weight", [config.maxPositions, hiddenSize]);
  const tokens = embedding(ids, model.at("embeddings", "token_embedding"));
  let x: Value = add(tokens, slice(positions, 0, 0, length!));

  // 2. Layers
  const hiddenStates = [x];
  for (let i = 0; i < config.layers; i++) {
    x = clipLayer(model.at("encoder", "layers", i), config, x, { causal: true });
    hiddenStates.push(x);
  }

  // 3. Final norm
  const lastHiddenState = layerNorm(x, model.at("final_layer_norm"), { eps });

  // 4. The text as one vector: the state at its end
  const rows = reshape(lastHiddenState, [-1, hiddenSize]);
  const starts = constant(
    Tensor.i64(
      [batch!],
      Array.from({ length: batch! }, (_, i) => i * length!),
    ),
  );
  const pooled = eosIndex && gather(rows, add(eosIndex, starts));
  const projection = w.optional("text_projection.weight", [config.projectionDim, hiddenSize]);
  const textEmbeds = pooled && projection && project(pooled, projection);
  return { hiddenStates, lastHiddenState, pooled, textEmbeds };
}

/**
 * Where a text ends: at its first eos_token_id. Configs from before transformers 4.31 wrongly say 2; there it is the
 * first of the largest ids, as the end of text was the vocabulary's last token.
 * @param ids the tokens of one text
 * @throws DiffsightError TEXT_END when eos_token_id is not among them
 */
export function pooledIndex(ids: readonly number[], { eosTokenId }: ClipTextConfig): number {
  const index = ids.indexOf(eosTokenId === 2 ? Math.max(...ids) : eosTokenId);
  if (index === -1)
    throw failure("TEXT_END", `A text has no end: eos_token_id ${eosTokenId} is not among its tokens.`);
  return index;
}
