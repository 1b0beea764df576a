/** @file A small transformer over the tokens of all encoders together. */

import { z } from "zod";
import { add, concat, gelu, slice, type Value } from "../../graph/index.js";
import { type LayoutBuilder, layerNorm, linear } from "../../models/index.js";
import type { Scope } from "../../weights/index.js";
import { type AttentionShape, attend, attentionLayout, headsSchema } from "./attention.js";
import { checkHeads, fusion } from "./fusion.js";
import { severalNames, shared, widthSchema } from "./schema.js";

const schema = z.strictObject({
  ...shared,
  type: z.literal("transformer"),
  encoders: severalNames,
  /** Channels inside, and of what comes out. Default: the first encoder's. */
  width: widthSchema.optional(),
  layers: z.number().int().min(1).max(12).default(2),
  heads: headsSchema,
  /** Width of the feed-forward as a multiple of the width. */
  feedForward: z.number().min(0.25).max(16).default(4),
  positions: z.enum(["none", "learned"]).default("none"),
  /** Whose tokens come out: the first encoder's, or all. */
  output: z.enum(["first", "all"]).default("first"),
});

const eps = 1e-5;

export const transformer = fusion(schema, (config) => {
  const { encoders, heads, output } = config;
  const hiddenOf = (width: number) => Math.round(config.feedForward * width);
  return {
    encoders,
    shape(inputs) {
      const first = inputs[0]!;
      const width = config.width ?? first.width;
      checkHeads(width, heads, "transformer");
      if (output === "first") return { tokens: first.tokens, width, grid: first.grid };
      return { tokens: inputs.reduce((sum, { tokens }) => sum + tokens, 0), width, grid: undefined };
    },
    layout(layers, key, inputs) {
      const width = config.width ?? inputs[0]!.width;
      const small = { kind: "normal", std: 0.02 } as const;
      for (const { name, tokens, width: own } of inputs) {
        layers.linear(`${key}.adapters.${name}`, own, width);
        layers.add(`${key}.kinds.${name}`, [width], "weight", small);
        if (config.positions === "learned") {
          layers.add(`${key}.positions.${name}`, [tokens, width], "weight", small);
        }
      }
      for (let i = 0; i < config.layers; i++)
        layerLayout(layers, `${key}.layers.${i}`, width, hiddenOf(width));
      layers.norm(`${key}.norm`, width);
    },
    fuse(w, inputs) {
      // 1. All tokens in one width, each told whose it is
      const width = config.width ?? inputs[0]!.width;
      const tokens = inputs.map(({ name, tokens: count, value }) => {
        const own = add(linear(value, w.at("adapters", name)), w.at("kinds").parameter(name, [width]));
        if (config.positions === "none") return own;
        return add(own, w.at("positions").parameter(name, [count, width]));
      });
      let x: Value = concat(tokens, 1);
      // 2. Layers, norms first
      const shape = { queries: width, context: width, width, heads };
      for (let i = 0; i < config.layers; i++) x = layer(w.at("layers", i), shape, x);
      // 3. What comes out
      if (output === "first") x = slice(x, 1, 0, inputs[0]!.tokens);
      return layerNorm(x, w.at("norm"), { eps });
    },
  };
});

function layer(w: Scope, shape: AttentionShape, x: Value): Value {
  const h = layerNorm(x, w.at("norm1"), { eps });
  const seen = add(x, attend(w.at("attention"), shape, h, h));
  const inner = linear(layerNorm(seen, w.at("norm2"), { eps }), w.at("fc1"));
  return add(seen, linear(gelu(inner), w.at("fc2")));
}

function layerLayout(layers: LayoutBuilder, key: string, width: number, hidden: number): void {
  layers.norm(`${key}.norm1`, width);
  const shape = { queries: width, context: width, width, heads: 1 };
  attentionLayout(layers, `${key}.attention`, shape);
  layers.norm(`${key}.norm2`, width);
  layers.linear(`${key}.fc1`, width, hidden);
  layers.linear(`${key}.fc2`, hidden, width);
}
