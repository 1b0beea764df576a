/** @file Encoders side by side in the channels of each token (Cambrian-1's hybrid, "A.B" of Law of Vision). */

import { z } from "zod";
import { concat } from "../../graph/index.js";
import { type FusionKind, fusion } from "./fusion.js";
import { gridSchema, meetingGrid, patchesOn } from "./grids.js";
import { severalNames, shared } from "./schema.js";

const schema = z.strictObject({
  ...shared,
  type: z.literal("channel-concat"),
  encoders: severalNames,
  /** Where the patches meet. Default: the first encoder's grid. Class tokens are left out. */
  grid: gridSchema.optional(),
});

export const channelConcat: FusionKind<typeof schema> = fusion(schema, ({ encoders, grid }) => ({
  encoders,
  shape(inputs) {
    const meeting = meetingGrid(inputs, grid);
    const width = inputs.reduce((sum, input) => sum + input.width, 0);
    return { tokens: meeting[0] * meeting[1], width, grid: meeting };
  },
  fuse(_, inputs) {
    const meeting = meetingGrid(inputs, grid);
    return concat(
      inputs.map((input) => patchesOn(input, meeting)),
      -1,
    );
  },
}));
