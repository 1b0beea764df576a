/** @file Several taps of one network, or several networks, each brought to one width and grid and weighted by training. */

import { z } from "zod";
import { add, mul, slice, softmax, type Value } from "../../graph/index.js";
import { linear } from "../../models/index.js";
import { fusion } from "./fusion.js";
import { gridSchema, meetingGrid, patchesOn } from "./grids.js";
import { severalNames, shared, widthSchema } from "./schema.js";

const schema = z.strictObject({
  ...shared,
  type: z.literal("pyramid"),
  encoders: severalNames,
  /** Channels that come out. Default: the first encoder's. */
  width: widthSchema.optional(),
  /** Where the patches meet. Default: the first encoder's grid. Class tokens are left out. */
  grid: gridSchema.optional(),
});

export const pyramid = fusion(schema, ({ encoders, grid, width }) => ({
  encoders,
  shape(inputs) {
    const meeting = meetingGrid(inputs, grid);
    return { tokens: meeting[0] * meeting[1], width: width ?? inputs[0]!.width, grid: meeting };
  },
  layout(layers, key, inputs) {
    const to = width ?? inputs[0]!.width;
    for (const input of inputs) layers.linear(`${key}.adapters.${input.name}`, input.width, to);
    layers.add(`${key}.logits`, [inputs.length], "bias", { kind: "constant", value: 0 });
  },
  fuse(w, inputs) {
    const meeting = meetingGrid(inputs, grid);
    const weights = softmax(w.parameter("logits", [inputs.length]));
    const levels: Value[] = inputs.map((input, i) =>
      mul(linear(patchesOn(input, meeting), w.at("adapters", input.name)), slice(weights, 0, i, i + 1)),
    );
    return levels.reduce((total, level) => add(total, level));
  },
}));
