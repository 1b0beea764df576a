/** @file Latents of a store's pictures, as the U-Net takes them, beside the lines of the pictures. */

import { z } from "zod";
import { Engine } from "../../engine/index.js";
import { input, plainKernels } from "../../graph/index.js";
import { vaePixels } from "../../image/index.js";
import { readVaeConfig, vaeEncode } from "../../models/index.js";
import { misuse, Tensor } from "../../tensor/index.js";
import { defineProducer } from "../producer.js";
import { autoencoderConfig, standardised } from "../tasks/autoencoder.js";
import { latentColumn } from "../tasks/diffusion.js";
import { checkPictures, picturesOf, roles, stacked } from "../tasks/pictures.js";
import { scopeOf } from "../weights.js";

export const latentsConfig = z.strictObject({
  /** Pictures in a pass. */
  batch: z.number().int().positive().default(16),
});

export type LatentsProduction = z.infer<typeof latentsConfig>;

/** The means of the posteriors, standardised as they are in the exported autoencoder. Needs the data `pictures` and the model `vae`. */
export const producer = defineProducer<LatentsProduction>({
  version: 1,
  config: latentsConfig,

  async open({ config: { batch }, data, models }) {
    const { pictures } = roles(data, "pictures");
    const { vae: trained } = models;
    if (!trained)
      throw misuse("MODEL_MISSING", 'models: "vae" is missing: latents are made by an autoencoder.');
    const json = autoencoderConfig.parse(trained.config).network;
    const side = json.sample_size as number;
    checkPictures(pictures, side);

    const vae = readVaeConfig(json);
    const pixels = input("pixels", [batch, vae.inChannels, side, side]);
    const { mean } = vaeEncode(scopeOf(standardised(trained.weights)), vae, pixels);
    const dims = mean.dims.slice(1);
    const engine = await Engine.open({
      device: "cpu",
      memory: "fast",
      threads: 1,
      host: "here",
      kernels: plainKernels,
    });
    const program = engine.compile({ mean });

    /** The latents of one pass; what it lacks is filled with its last picture. */
    const encode = async (rows: readonly number[]): Promise<Float32Array> => {
      const filled = Array.from({ length: batch }, (_, i) => rows[Math.min(i, rows.length - 1)]!);
      const given = { pixels: stacked(picturesOf(pictures, filled).map(vaePixels)) };
      const found = (await program.run(given)).mean!.toFloat32();
      return found.subarray(0, (found.length / batch) * rows.length);
    };
    return {
      count: pictures.rows,
      columns: { [latentColumn]: { dtype: "f16", dims } },
      lines: pictures.index.lines,
      async make(from, to) {
        const rows = Array.from({ length: to - from }, (_, i) => from + i);
        const latents = Tensor.f32([rows.length, ...dims]);
        const size = latents.size / rows.length;
        for (let done = 0; done < rows.length; done += batch) {
          const made = await encode(rows.slice(done, done + batch));
          (latents.data as Float32Array).set(made, done * size);
        }
        return {
          columns: { [latentColumn]: latents.to("f16") },
          ...(pictures.index.lines && { lines: rows.map((row) => pictures.line(row)) }),
        };
      },
      release: () => engine.dispose(),
    };
  },
});
