/**
 * @file The fusion of the seed skill: CLIP's class token beside projected diffusion features, averaged over timesteps, in
 * a small head with dropout.
 */

import { z } from "zod";
import { add, concat, expand, gelu, mean, mul, slice, type Value } from "../../graph/index.js";
import { linear } from "../../models/index.js";
import { misuse } from "../../tensor/index.js";
import { fusion, type NamedShape } from "./fusion.js";
import { meetingGrid, patchesOn } from "./grids.js";
import { nameSchema, shared, widthSchema } from "./schema.js";

const schema = z.strictObject({
  ...shared,
  type: z.literal("class-token"),
  /** Whose class token is taken: a stream that begins with one. */
  classToken: nameSchema,
  /** Diffusion's features; several (one a timestep) are averaged. */
  diffusion: z.array(nameSchema).min(1).max(16),
  hidden: widthSchema.default(512),
  /** Channels that come out. Default: the class token's. */
  width: widthSchema.optional(),
  dropout: z.number().min(0).lt(1).default(0.1),
  /** `grid`: a token a patch; `one`: a single token, of the patches' mean. */
  tokens: z.enum(["grid", "one"]).default("grid"),
});

export const classToken = fusion(schema, (config) => {
  const { diffusion, dropout, hidden, tokens } = config;
  const sizes = ([first, ...others]: readonly NamedShape[]) => {
    const own = first!.grid ? first!.tokens - first!.grid[0] * first!.grid[1] : first!.tokens;
    if (own !== 1) throw misuse("FUSION", `class-token: "${first!.name}" has no class token.`);
    const other = others.find(({ width }) => width !== others[0]!.width);
    if (other)
      throw misuse("FUSION", `class-token: "${other.name}" and "${others[0]!.name}" differ in width.`);
    return { clip: first!.width, from: others[0]!.width, width: config.width ?? first!.width };
  };
  return {
    encoders: [config.classToken, ...diffusion],
    shape(inputs) {
      const { width } = sizes(inputs);
      if (tokens === "one") return { tokens: 1, width, grid: undefined };
      const grid = meetingGrid(inputs.slice(1), undefined);
      return { tokens: grid[0] * grid[1], width, grid };
    },
    layout(layers, key, inputs) {
      const { clip, from, width } = sizes(inputs);
      layers.linear(`${key}.diffusion_projector.0`, from, hidden);
      layers.linear(`${key}.diffusion_projector.2`, hidden, width);
      layers.linear(`${key}.fusion_head.0`, clip + width, hidden);
      layers.linear(`${key}.fusion_head.2`, hidden, width);
    },
    fuse(w, inputs, context) {
      const [clip, ...others] = inputs;
      const grid = meetingGrid(others, undefined);
      // 1. One set of features: the mean over the timesteps
      const sum = others.map((one) => patchesOn(one, grid)).reduce((total, one) => add(total, one));
      let x: Value = mul(sum, 1 / others.length);
      if (tokens === "one") x = mean(x, 1);
      // 2. Projected, some of it dropped
      const projector = w.at("diffusion_projector");
      x = linear(gelu(linear(x, projector.at(0))), projector.at(2));
      if (dropout > 0 && context.dropout) x = mul(x, context.dropout("dropout", x.dims, dropout));
      // 3. Beside the class token, which every patch gets
      const [batch, count] = x.dims as [number, number];
      const own = expand(slice(clip!.value, 1, 0, 1), [batch, count, clip!.width]);
      const head = w.at("fusion_head");
      return linear(gelu(linear(concat([own, x], -1), head.at(0))), head.at(2));
    },
  };
});
