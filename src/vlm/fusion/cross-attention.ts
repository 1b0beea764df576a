/** @file The paper's better fusion: CLIP asks, diffusion answers. Queries from one encoder, keys and values from another. */

import { z } from "zod";
import { add } from "../../graph/index.js";
import { attend, attentionLayout, attentionShape, headsSchema, positionsSchema } from "./attention.js";
import { fusion, type NamedShape } from "./fusion.js";
import { nameSchema, shared, widthSchema } from "./schema.js";

const schema = z.strictObject({
  ...shared,
  type: z.literal("cross-attention"),
  /** Whose tokens ask: as many come out, of the same width. */
  queries: nameSchema,
  /** Whose tokens answer. */
  context: nameSchema,
  /** Channels of all heads together. Default: the queries' own. */
  width: widthSchema.optional(),
  heads: headsSchema,
  positions: positionsSchema,
  /** Whether the answer is added to what asked. */
  residual: z.boolean().default(true),
});

export const crossAttention = fusion(schema, (config) => {
  const sizes = ([queries, context]: readonly NamedShape[]) =>
    attentionShape("cross-attention", config, queries!, context!);
  return {
    encoders: [config.queries, config.context],
    shape(inputs) {
      sizes(inputs);
      const { grid, tokens, width } = inputs[0]!;
      return { grid, tokens, width };
    },
    layout: (layers, key, inputs) => attentionLayout(layers, key, sizes(inputs)),
    fuse(w, inputs) {
      const [queries, context] = inputs.map(({ value }) => value);
      const answer = attend(w, sizes(inputs), queries!, context!);
      return config.residual ? add(queries!, answer) : answer;
    },
  };
});
