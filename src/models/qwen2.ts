/** @file Qwen2 (transformers `Qwen2ForCausalLM`): LLaMA's network with biases on queries, keys and values. */

import { z } from "zod";
import { failure } from "../tensor/index.js";
import { only, readConfig, size, withDefault } from "./config.js";
import { type LlamaConfig, llamaConfig, llamaFields } from "./llama.js";

const schema = z.looseObject({
  model_type: only("qwen2"),
  ...llamaFields,
  vocab_size: withDefault(llamaFields.vocab_size, 151936),
  intermediate_size: withDefault(llamaFields.intermediate_size, 22016),
  num_key_value_heads: size.nullable().default(32),
  max_position_embeddings: withDefault(llamaFields.max_position_embeddings, 32768),
  use_sliding_window: z.boolean().nullish(),
  // These two count only with `use_sliding_window`; without it a config may say anything, null or 0 among it.
  sliding_window: z.number().nullable().default(4096),
  /** Layers from this one on have a window. */
  max_window_layers: z.number().nullable().default(28),
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
  const c = readConfig(schema, json, "Qwen2");
  const config = llamaConfig(json, c, bias, "Qwen2");
  const { use_sliding_window, sliding_window, layer_types } = c;
  const firstWindow = c.max_window_layers ?? 0;
  // Windows would hide what lies further back.
  if (use_sliding_window && sliding_window !== null && !layer_types && firstWindow < config.layers) {
    const where = `from layer ${firstWindow} of ${config.layers} on`;
    throw failure("CONFIG", `Qwen2 config: use_sliding_window (${where}) is not supported.`);
  }
  return config;
}
