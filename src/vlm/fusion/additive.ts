/** @file A weighted sum of two encoders' patches (additive mixture of features, Tong et al. 2024). */

import { z } from "zod";
import { add, mul } from "../../graph/index.js";
import { commonWidth, fusion } from "./fusion.js";
import { gridSchema, meetingGrid, patchesOn } from "./grids.js";
import { nameSchema, shared } from "./schema.js";

const schema = z.strictObject({
  ...shared,
  type: z.literal("additive"),
  encoders: z.tuple([nameSchema, nameSchema]),
  /** alpha · first + (1 - alpha) · second */
  alpha: z.number().min(0).max(1).default(0.5),
  /** Where the patches meet. Default: the first encoder's grid. Class tokens are left out. */
  grid: gridSchema.optional(),
});

export const additive = fusion(schema, ({ encoders, alpha, grid }) => ({
  encoders,
  shape(inputs) {
    const meeting = meetingGrid(inputs, grid);
    return { tokens: meeting[0] * meeting[1], width: commonWidth(inputs, "additive"), grid: meeting };
  },
  fuse(_, inputs) {
    const meeting = meetingGrid(inputs, grid);
    const [first, second] = inputs.map((input) => patchesOn(input, meeting));
    return add(mul(first!, alpha), mul(second!, 1 - alpha));
  },
}));
