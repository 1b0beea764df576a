/** @file Cross-attention behind gates that are shut at first (Flamingo's): training starts at the first encoder alone. */

import { z } from "zod";
import { add, gelu, mul, tanh } from "../../graph/index.js";
import { layerNorm, linear } from "../../models/index.js";
import { attend, attentionLayout, attentionShape, headsSchema, positionsSchema } from "./attention.js";
import { fusion, type NamedShape } from "./fusion.js";
import { nameSchema, sharedAsIs, widthSchema } from "./schema.js";

const schema = z.strictObject({
  ...sharedAsIs,
  type: z.literal("gated-cross-attention"),
  /** Whose tokens ask: as many come out, of the same width; at the start they are what comes out. */
  queries: nameSchema,
  /** Whose tokens answer. */
  context: nameSchema,
  /** Channels of all heads together. Default: the queries' own. */
  width: widthSchema.optional(),
  heads: headsSchema,
  positions: positionsSchema,
  /** Width of the feed-forward after it, as a multiple of the queries'; 0 for none. */
  feedForward: z.number().min(0).max(16).default(4),
});

const eps = 1e-5;

export const gatedCrossAttention = fusion(schema, (config) => {
  const sizes = ([queries, context]: readonly NamedShape[]) =>
    attentionShape("gated-cross-attention", config, queries!, context!);
  const hiddenOf = (width: number) => Math.round(config.feedForward * width);
  return {
    encoders: [config.queries, config.context],
    shape(inputs) {
      sizes(inputs);
      const { grid, tokens, width } = inputs[0]!;
      return { grid, tokens, width };
    },
    layout(layers, key, inputs) {
      const { context, queries } = sizes(inputs);
      layers.norm(`${key}.queries_norm`, queries);
      layers.norm(`${key}.context_norm`, context);
      attentionLayout(layers, `${key}.attention`, sizes(inputs));
      const shut = { kind: "constant", value: 0 } as const;
      layers.add(`${key}.attention_gate`, [], "scale", shut);
      const hidden = hiddenOf(queries);
      if (hidden === 0) return;
      layers.norm(`${key}.feed_forward_norm`, queries);
      layers.linear(`${key}.fc1`, queries, hidden);
      layers.linear(`${key}.fc2`, hidden, queries);
      layers.add(`${key}.feed_forward_gate`, [], "scale", shut);
    },
    fuse(w, inputs) {
      const [queries, context] = inputs.map(({ value }) => value);
      // 1. What diffusion answers, as far as the gate lets it in
      const asked = layerNorm(queries!, w.at("queries_norm"), { eps });
      const told = layerNorm(context!, w.at("context_norm"), { eps });
      const answer = attend(w.at("attention"), sizes(inputs), asked, told);
      const x = add(queries!, mul(answer, tanh(w.parameter("attention_gate", []))));
      if (hiddenOf(queries!.dims.at(-1)!) === 0) return x;
      // 2. Feed-forward, behind a gate of its own
      const inner = gelu(linear(layerNorm(x, w.at("feed_forward_norm"), { eps }), w.at("fc1")));
      return add(x, mul(linear(inner, w.at("fc2")), tanh(w.parameter("feed_forward_gate", []))));
    },
  };
});
