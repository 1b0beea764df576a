/** @file One layer of CLIP's towers (transformers `CLIPEncoderLayer`), the same for texts and pictures. */

import { add, attention, type Value } from "../graph/index.js";
import type { Scope } from "../weights/index.js";
import { type ActivationName, activation, layerNorm, linear } from "./layers.js";

export interface ClipLayerConfig {
  hiddenSize: number;
  intermediateSize: number;
  heads: number;
  activation: ActivationName;
  eps: number;
}

/**
 * x [B, T, C] -> [B, T, C]
 * @param causal whether a token sees itself and those before it only, as in texts
 */
export function clipLayer(
  w: Scope,
  { eps, heads, hiddenSize, intermediateSize, activation: act }: ClipLayerConfig,
  x: Value,
  { causal }: { causal: boolean },
): Value {
  const whole = { out: hiddenSize };
  // 1. Self-attention
  const attn = w.at("self_attn");
  let h = layerNorm(x, w.at("layer_norm1"), { eps });
  const q = linear(h, attn.at("q_proj"), whole);
  const k = linear(h, attn.at("k_proj"), whole);
  const v = linear(h, attn.at("v_proj"), whole);
  h = attention(q, k, v, { heads, scale: (hiddenSize / heads) ** -0.5, causal });
  x = add(x, linear(h, attn.at("out_proj"), whole));

  // 2. Feed-forward
  h = layerNorm(x, w.at("layer_norm2"), { eps });
  const inner = linear(h, w.at("mlp", "fc1"), { out: intermediateSize });
  return add(x, linear(activation(act)(inner), w.at("mlp", "fc2"), whole));
}
