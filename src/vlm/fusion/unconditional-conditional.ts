/** @file What diffusion sees without a text beside what it sees with one, in the channels of each token. */

import { z } from "zod";
import { channelConcat } from "./channel-concat.js";
import { fusion } from "./fusion.js";
import { gridSchema } from "./grids.js";
import { nameSchema, shared } from "./schema.js";

const schema = z.strictObject({
  ...shared,
  type: z.literal("unconditional-conditional"),
  unconditional: nameSchema,
  conditional: nameSchema,
  grid: gridSchema.optional(),
});

export const unconditionalConditional = fusion(schema, ({ unconditional, conditional, grid }) =>
  channelConcat.make({ encoders: [unconditional, conditional], grid }),
);
