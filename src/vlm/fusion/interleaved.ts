/** @file Encoders' patches in turn, place by place (interleaved mixture of features, Tong et al. 2024). */

import { z } from "zod";
import { concat, reshape } from "../../graph/index.js";
import { commonWidth, fusion } from "./fusion.js";
import { gridSchema, meetingGrid, patchesOn } from "./grids.js";
import { severalNames, shared } from "./schema.js";

const schema = z.strictObject({
  ...shared,
  type: z.literal("interleaved"),
  encoders: severalNames,
  /** Where the patches meet. Default: the first encoder's grid. Class tokens are left out. */
  grid: gridSchema.optional(),
});

export const interleaved = fusion(schema, ({ encoders, grid }) => ({
  encoders,
  shape(inputs) {
    const [rows, columns] = meetingGrid(inputs, grid);
    const width = commonWidth(inputs, "interleaved");
    return { tokens: rows * columns * inputs.length, width, grid: undefined };
  },
  fuse(_, inputs) {
    const meeting = meetingGrid(inputs, grid);
    // Side by side in the channels, then a token each: [B, N, k C] is [B, k N, C] with the places in turn.
    const side = concat(
      inputs.map((input) => patchesOn(input, meeting)),
      -1,
    );
    const [batch, places] = side.dims as [number, number];
    return reshape(side, [batch, places * inputs.length, inputs[0]!.width]);
  },
}));
