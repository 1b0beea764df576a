/** @file Qwen2 (transformers `Qwen2ForCausalLM`): LLaMA's network with biases on queries, keys and values. */

import { z } from "zod";
import { only, readConfig, size, withDefault } from "./config.js";
import { type LlamaConfig, llamaConfig, llamaFields } from "./llama.js";

const schema = z.looseObject({
  model_type: only("qwen2"),
  ...llamaFields,
  vocab_size: withDefault(llamaFields.vocab_size, 151936),
  intermediate_size: withDefault(llamaFields.intermediate_size, 22016),
  num_key_value_heads: size.nullable().default(32),
  max_position_embeddings: withDefault(llamaFields.max_position_embeddings, 32768),
  // Windows would hide what lies further back.
  use_sliding_window: only(false, null),
  layer_types: z
    .array(z.string())
    .nullish()
    .refine((types) => types?.every((type) => type === "full_attention") ?? true, {
      error: ({ input }) => `${JSON.stringify(input)} is not supported (only "full_attention")`,
    }),
});

/**
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 * @see https://huggingface.co/docs/transformers/model_doc/qwen2
 */
export function readQwen2Config(json: unknown): LlamaConfig {
  const bias = { qkv: true, output: false, mlp: false };
  return llamaConfig(json, readConfig(schema, json, "Qwen2"), bias, "Qwen2");
}
