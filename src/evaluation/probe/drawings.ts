/** @file What a diffusion model draws of a store's captions, beside the lines of the pictures that they describe. */

import { z } from "zod";
import { hashFolder } from "../../data/index.js";
import { DiffusionEncoder } from "../../diffusion/index.js";
import { Tensor } from "../../tensor/index.js";
import { defineProducer, roles, sceneSchema } from "../../training/index.js";

export const drawingsSchema = z.strictObject({
  /** Folder or id of a pipeline. */
  model: z.string().min(1),
  prompt: z.enum(["full", "loose"]).default("full"),
  steps: z.number().int().positive().default(25),
  cfg: z.number().default(4),
  /** Row i is drawn from the noise of seed + i. */
  seed: z.number().int().min(0).default(0),
});

export type DrawingsConfig = z.infer<typeof drawingsSchema>;

/** Needs the data `pictures`: scenes with captions, whose size the drawings have. */
export const producer = defineProducer<DrawingsConfig>({
  version: 1,
  config: drawingsSchema as z.ZodType<DrawingsConfig>,
  source: ({ model }) => hashFolder(model),

  async open({ config: { model, prompt, steps, cfg, seed }, data }) {
    const { pictures } = roles(data, "pictures");
    const [height, width] = pictures.columns.rgb!.dims as [number, number, number];
    const passes = 2 * steps * pictures.rows;
    const eye = await DiffusionEncoder.fromPretrained(model, {
      device: "cpu",
      memory: "fast",
      threads: 1,
      host: "here",
      passes,
    });
    return {
      count: pictures.rows,
      columns: { rgb: { dtype: "u8", dims: [height, width, 3] } },
      lines: true,
      async make(from, to) {
        const drawn = new Uint8Array((to - from) * height * width * 3);
        for (let row = from; row < to; row++) {
          const { captions } = sceneSchema.parse(pictures.line(row));
          const options = { steps, cfg, seed: seed + row, size: [width, height] as const };
          const { data } = await eye.generate(captions[prompt], options);
          drawn.set(data, (row - from) * height * width * 3);
        }
        return {
          columns: { rgb: new Tensor("u8", [to - from, height, width, 3], drawn) },
          lines: Array.from({ length: to - from }, (_, i) => pictures.line(from + i)),
        };
      },
      release: () => eye.release(),
    };
  },
});
