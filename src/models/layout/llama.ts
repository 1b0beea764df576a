/** @file The tensors of LLaMA, Mistral and Qwen2 (transformers `LlamaForCausalLM` and its kin). */

import { z } from "zod";
import { readConfig, withDefault } from "../config.js";
import { readLanguageConfig } from "../language-config.js";
import { type Layout, LayoutBuilder } from "./layout.js";

const schema = z.looseObject({ initializer_range: withDefault(z.number().positive(), 0.02) });

/**
 * Weights start normal with the config's `initializer_range`, biases at 0, norms at 1.
 * @param json its config.json
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 */
export function llamaLayout(json: unknown): Layout {
  const config = readLanguageConfig(json);
  const { initializer_range: std } = readConfig(schema, json, "Language model");
  const { hiddenSize, intermediateSize, headDim, heads, kvHeads, vocabSize } = config;
  const layers = new LayoutBuilder();
  const linear = (key: string, from: number, to: number, bias = false) =>
    layers.normal(key, [to, from], std, { bias });
  const norm = (key: string) =>
    layers.add(`${key}.weight`, [hiddenSize], "scale", { kind: "constant", value: 1 });

  linear("model.embed_tokens", hiddenSize, vocabSize);
  for (let i = 0; i < config.layers; i++) {
    const layer = `model.layers.${i}`;
    norm(`${layer}.input_layernorm`);
    linear(`${layer}.self_attn.q_proj`, hiddenSize, heads * headDim, config.bias.qkv);
    linear(`${layer}.self_attn.k_proj`, hiddenSize, kvHeads * headDim, config.bias.qkv);
    linear(`${layer}.self_attn.v_proj`, hiddenSize, kvHeads * headDim, config.bias.qkv);
    linear(`${layer}.self_attn.o_proj`, heads * headDim, hiddenSize, config.bias.output);
    norm(`${layer}.post_attention_layernorm`);
    linear(`${layer}.mlp.gate_proj`, hiddenSize, intermediateSize, config.bias.mlp);
    linear(`${layer}.mlp.up_proj`, hiddenSize, intermediateSize, config.bias.mlp);
    linear(`${layer}.mlp.down_proj`, intermediateSize, hiddenSize, config.bias.mlp);
  }
  norm("model.norm");
  if (!config.tied) linear("lm_head", hiddenSize, vocabSize);
  return layers.build();
}
