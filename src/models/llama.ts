/** @file LLaMA (transformers `LlamaForCausalLM`), and the language models that are built alike. */

import { z } from "zod";
import {
  add,
  attention,
  cachedAttention,
  concat,
  expand,
  mul,
  linear as project,
  reshape,
  rotary,
  type Value,
} from "../graph/index.js";
import { failure } from "../tensor/index.js";
import type { Scope } from "../weights/index.js";
import { only, readConfig, size, withDefault } from "./config.js";
import { type ActivationName, activation, activationNames, embedding, linear, rmsNorm } from "./layers.js";
import { type RopeConfig, readRope } from "./rope.js";

/** What all of the family say. */
export const llamaFields = {
  vocab_size: withDefault(size, 32000),
  hidden_size: withDefault(size, 4096),
  intermediate_size: withDefault(size, 11008),
  num_hidden_layers: withDefault(size, 32),
  num_attention_heads: withDefault(size, 32),
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  hidden_act: withDefault(z.enum(activationNames), "silu"),
  max_position_embeddings: withDefault(size, 2048),
  rms_norm_eps: withDefault(z.number().positive(), 1e-6),
  tie_word_embeddings: withDefault(z.boolean(), false),
  eos_token_id: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
};

const schema = z.looseObject({
  model_type: only("llama", null),
  ...llamaFields,
  attention_bias: withDefault(z.boolean(), false),
  mlp_bias: withDefault(z.boolean(), false),
});

export interface LlamaConfig {
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  /** Heads of keys and values, each shared by heads / kvHeads of the queries. */
  kvHeads: number;
  headDim: number;
  activation: ActivationName;
  eps: number;
  rope: RopeConfig;
  /** Whether the projections have biases. */
  bias: { qkv: boolean; output: boolean; mlp: boolean };
  /** Whether the head is the table of embeddings. */
  tied: boolean;
  /** Tokens that end an answer. */
  eosTokenIds: readonly number[];
}

/**
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 * @see https://huggingface.co/docs/transformers/model_doc/llama
 */
export function readLlamaConfig(json: unknown): LlamaConfig {
  const c = readConfig(schema, json, "LLaMA");
  const bias = { qkv: c.attention_bias, output: c.attention_bias, mlp: c.mlp_bias };
  return llamaConfig(json, { ...c, eos_token_id: endOf(c) }, bias, "LLaMA");
}

type Ends = number | number[] | null | undefined;

/** What ends a text of LLaMA's and Mistral's: configs leave out the usual 2, and null says that nothing does. */
export function endOf({ eos_token_id: ids }: { eos_token_id?: Ends }): Ends {
  return ids === undefined ? 2 : ids;
}

/** The same from fields that were read. */
export function llamaConfig(
  json: unknown,
  c: z.infer<z.ZodObject<typeof llamaFields>>,
  bias: LlamaConfig["bias"],
  what: string,
): LlamaConfig {
  const heads = c.num_attention_heads;
  const kvHeads = c.num_key_value_heads ?? heads;
  if (heads % kvHeads) {
    throw failure(
      "CONFIG",
      `${what} config: num_attention_heads ${heads} does not divide into num_key_value_heads ${kvHeads}.`,
    );
  }
  if (c.head_dim == null && c.hidden_size % heads) {
    throw failure(
      "CONFIG",
      `${what} config: hidden_size ${c.hidden_size} does not divide into num_attention_heads ${heads}.`,
    );
  }
  const headDim = c.head_dim ?? c.hidden_size / heads;
  return {
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    intermediateSize: c.intermediate_size,
    layers: c.num_hidden_layers,
    heads,
    kvHeads,
    headDim,
    activation: c.hidden_act,
    eps: c.rms_norm_eps,
    rope: readRope(json, { headDim, maxPositions: c.max_position_embeddings }),
    bias,
    tied: c.tie_word_embeddings,
    eosTokenIds: c.eos_token_id == null ? [] : [c.eos_token_id].flat(),
  };
}

/** Keys, after their rotation, and values of one layer. */
export interface KeysAndValues {
  keys: Value;
  values: Value;
}

export interface LlamaInputs {
  /** The tokens [B, T, hidden_size]: `llamaEmbeddings`, or other features in their place. */
  embeds: Value;
  /** `rotaryTables` of their positions: [T, head_dim / 2]; [B T, head_dim / 2] where they differ between sequences. */
  cos: Value;
  sin: Value;
  /** Of earlier tokens, one entry a layer, [P, kv heads, head_dim] each; B is 1 then. */
  past?: readonly KeysAndValues[];
  /**
   * Added to the scores. Without a past [1 or B, 1, T, T], and every token sees itself and those before it only. With
   * one [T, P + T], and it alone says who sees whom.
   */
  bias?: Value;
}

export interface LlamaOutputs {
  /** The embeddings, then the states after each layer [B, T, C]; none with the final norm. */
  hiddenStates: Value[];
  /** The last of them, with the final norm: what `llamaLogits` takes. */
  lastHiddenState: Value;
  /** The new tokens', one entry a layer, [B, T, kv heads, head_dim] each. */
  cache: KeysAndValues[];
}

/** ids [...] (i64) -> [..., hidden_size] */
export function llamaEmbeddings(w: Scope, ids: Value): Value {
  return embedding(ids, body(w).at("embed_tokens"));
}

export function llama(w: Scope, config: LlamaConfig, inputs: LlamaInputs): LlamaOutputs {
  const model = body(w);
  const { past, bias } = inputs;
  if (past && !bias)
    throw failure("GRAPH", "With a past, the bias says which tokens see which: there is none.");
  // With a past the query heads that share keys are rows of one product.
  const groups = config.heads / config.kvHeads;
  const shared = { ...inputs, ...(past && bias && { bias: concat(Array<Value>(groups).fill(bias), 0) }) };

  let x = inputs.embeds;
  const hiddenStates = [x];
  const cache: KeysAndValues[] = [];
  for (let i = 0; i < config.layers; i++) {
    const layer = model.at("layers", i);
    // 1. Self-attention
    const normal = rmsNorm(x, layer.at("input_layernorm"), config);
    const { seen, own } = selfAttention(layer.at("self_attn"), config, normal, shared, past?.[i]);
    x = add(x, seen);
    cache.push(own);
    // 2. Feed-forward
    x = add(
      x,
      gatedFeedForward(layer.at("mlp"), config, rmsNorm(x, layer.at("post_attention_layernorm"), config)),
    );
    hiddenStates.push(x);
  }
  return { hiddenStates, lastHiddenState: rmsNorm(x, model.at("norm"), config), cache };
}

/** Scores of the next token: x [..., hidden_size], with the final norm -> [..., vocab_size] */
export function llamaLogits(w: Scope, { tied, vocabSize, hiddenSize }: LlamaConfig, x: Value): Value {
  if (!tied || w.has("lm_head")) return linear(x, w.at("lm_head"), { out: vocabSize });
  return project(x, body(w).at("embed_tokens").parameter("weight", [vocabSize, hiddenSize]));
}

/** The tower itself, which files of a bare `LlamaModel` hold without a prefix. */
function body(w: Scope): Scope {
  return w.has("model") ? w.at("model") : w;
}

/** transformers' `LlamaAttention`. */
function selfAttention(
  w: Scope,
  { hiddenSize, heads, kvHeads, headDim, bias: { qkv, output } }: LlamaConfig,
  x: Value,
  { cos, sin, bias }: LlamaInputs,
  past: KeysAndValues | undefined,
): { seen: Value; own: KeysAndValues } {
  const [batch, length] = x.dims as [number, number, number];
  const projected = (name: string, heads: number) =>
    linear(x, w.at(name), { bias: qkv, out: heads * headDim });
  const q = rotary(projected("q_proj", heads), cos, sin, { heads });
  const k = rotary(projected("k_proj", kvHeads), cos, sin, { heads: kvHeads });
  const v = projected("v_proj", kvHeads);
  const scale = headDim ** -0.5;
  const seen =
    past && bias
      ? cachedAttention(q, k, v, { pastKeys: past.keys, pastValues: past.values, bias, heads, scale })
      : attention(q, repeated(k, kvHeads, heads), repeated(v, kvHeads, heads), {
          heads,
          scale,
          causal: true,
          ...(bias && { bias }),
        });
  const apart = (rows: Value) => reshape(rows, [batch, length, kvHeads, headDim]);
  return {
    seen: linear(seen, w.at("o_proj"), { bias: output, out: hiddenSize }),
    own: { keys: apart(k), values: apart(v) },
  };
}

/** Each head as often as there are query heads that share it: [B, T, kvHeads d] -> [B, T, heads d] */
function repeated(x: Value, kvHeads: number, heads: number): Value {
  if (kvHeads === heads) return x;
  const [batch, length, channels] = x.dims as [number, number, number];
  const [groups, width] = [heads / kvHeads, channels / kvHeads];
  const apart = reshape(x, [batch, length, kvHeads, 1, width]);
  return reshape(expand(apart, [batch, length, kvHeads, groups, width]), [batch, length, heads * width]);
}

/** transformers' `LlamaMLP`. */
function gatedFeedForward(
  w: Scope,
  { activation: act, hiddenSize, intermediateSize, bias: { mlp: bias } }: LlamaConfig,
  x: Value,
): Value {
  const inner = (name: string) => linear(x, w.at(name), { bias, out: intermediateSize });
  const gated = mul(activation(act)(inner("gate_proj")), inner("up_proj"));
  return linear(gated, w.at("down_proj"), { bias, out: hiddenSize });
}
