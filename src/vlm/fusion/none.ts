/** @file No fusion: one encoder's tokens as they are. */

import { z } from "zod";
import { fusion } from "./fusion.js";
import { nameSchema, sharedAsIs } from "./schema.js";

const schema = z.strictObject({ ...sharedAsIs, type: z.literal("none"), encoder: nameSchema });

export const none = fusion(schema, ({ encoder }) => ({
  encoders: [encoder],
  shape: ([only]) => ({ tokens: only!.tokens, width: only!.width, grid: only!.grid }),
  fuse: (_, [only]) => only!.value,
}));
