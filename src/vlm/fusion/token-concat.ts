/** @file One encoder's tokens after another's. */

import { z } from "zod";
import { concat } from "../../graph/index.js";
import { commonWidth, fusion } from "./fusion.js";
import { severalNames, shared } from "./schema.js";

const schema = z.strictObject({ ...shared, type: z.literal("token-concat"), encoders: severalNames });

export const tokenConcat = fusion(schema, ({ encoders }) => ({
  encoders,
  shape(inputs) {
    const width = commonWidth(inputs, "token-concat");
    return { tokens: inputs.reduce((sum, { tokens }) => sum + tokens, 0), width, grid: undefined };
  },
  fuse: (_, inputs) =>
    concat(
      inputs.map(({ value }) => value),
      1,
    ),
}));
