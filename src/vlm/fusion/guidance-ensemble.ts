/**
 * @file Features at several guidances at once, f_s = u + s (c - u), weighted by what training or the question says: the
 * ensembling that the paper leaves open.
 */

import { z } from "zod";
import { add, mul, slice, softmax, sub, type Value } from "../../graph/index.js";
import { linear } from "../../models/index.js";
import { misuse } from "../../tensor/index.js";
import { commonWidth, fusion } from "./fusion.js";
import { unitRows } from "./normalisation.js";
import { nameSchema, sharedAsIs } from "./schema.js";

const schema = z.strictObject({
  ...sharedAsIs,
  type: z.literal("guidance-ensemble"),
  /** Features with the empty prompt. */
  unconditional: nameSchema,
  /** Features with the text, of the same tap, timestep and noise. */
  conditional: nameSchema,
  guidances: z.array(z.number()).min(1).max(16).default([0, 1, 1.5, 4, 7]),
  /** A vector of the question, from which its own weights are made. Default: the same weights for every question. */
  question: nameSchema.optional(),
  /**
   * Whether the features of each guidance are brought to the length √C before they are weighed. Without it their
   * weighted sum is only that of one other guidance.
   */
  unitLength: z.boolean().default(true),
});

const even = { kind: "constant", value: 0 } as const;

export const guidanceEnsemble = fusion(schema, (config) => {
  const { guidances, question } = config;
  return {
    encoders: [config.unconditional, config.conditional, ...(question === undefined ? [] : [question])],
    scaledAs: { [config.conditional]: config.unconditional },
    shape([unconditional, conditional, asked]) {
      const width = commonWidth([unconditional!, conditional!], "guidance-ensemble");
      const { grid, tokens } = unconditional!;
      if (tokens !== conditional!.tokens) {
        const counts = `"${unconditional!.name}" has ${tokens} tokens, "${conditional!.name}" ${conditional!.tokens}`;
        throw misuse("FUSION", `guidance-ensemble: ${counts}.`);
      }
      if (asked && asked.tokens !== 1) {
        throw misuse(
          "FUSION",
          `guidance-ensemble: "${asked.name}" is ${asked.tokens} tokens, not one vector.`,
        );
      }
      return { tokens, width, grid };
    },
    layout(layers, key, [, , asked]) {
      // Even weights at first.
      const count = guidances.length;
      if (asked) layers.add(`${key}.question.weight`, [count, asked.width], "weight", even);
      layers.add(asked ? `${key}.question.bias` : `${key}.logits`, [count], "bias", even);
    },
    fuse(w, [unconditional, conditional, asked]) {
      const u = unconditional!.value;
      const delta = sub(conditional!.value, u);
      // 1. Weights that sum to 1: [guidances], or [B, 1, guidances] where each question has its own
      const count = guidances.length;
      const weights = softmax(asked ? linear(asked.value, w.at("question")) : w.parameter("logits", [count]));
      // 2. The weighted sum over the guidances
      const terms: Value[] = guidances.map((s, i) => {
        const guided = s === 0 ? u : add(u, mul(delta, s));
        const weight = slice(weights, -1, i, i + 1);
        return mul(config.unitLength ? unitRows(guided) : guided, weight);
      });
      return terms.reduce((total, term) => add(total, term));
    },
  };
});
