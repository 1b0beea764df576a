/** @file Mistral (transformers `MistralForCausalLM`): LLaMA's network, which may see no further back than a window. */

import { z } from "zod";
import { failure } from "../tensor/index.js";
import { only, readConfig, size, withDefault } from "./config.js";
import { endOf, type LlamaConfig, llamaConfig, llamaFields } from "./llama.js";
import { longestSequence } from "./rope.js";

const schema = z.looseObject({
  model_type: only("mistral"),
  ...llamaFields,
  intermediate_size: withDefault(llamaFields.intermediate_size, 14336),
  num_key_value_heads: size.nullable().default(8),
  max_position_embeddings: withDefault(llamaFields.max_position_embeddings, 4096 * 32),
  sliding_window: size.nullable().default(4096),
});

/**
 * Texts are at most as long as the window, within which it changes nothing.
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 * @see https://huggingface.co/docs/transformers/model_doc/mistral
 */
export function readMistralConfig(json: unknown): LlamaConfig {
  const c = readConfig(schema, json, "Mistral");
  const bias = { qkv: false, output: false, mlp: false };
  const config = llamaConfig(json, { ...c, eos_token_id: endOf(c) }, bias, "Mistral");
  const { rope } = config;
  if (c.sliding_window === null || c.sliding_window >= longestSequence(rope)) return config;
  if (rope.scaling.rope_type !== "default") {
    throw failure(
      "CONFIG",
      `Mistral config: sliding_window ${c.sliding_window} with rope_type "${rope.scaling.rope_type}" is not supported.`,
    );
  }
  return { ...config, rope: { ...rope, maxPositions: c.sliding_window } };
}
