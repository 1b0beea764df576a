/** @file What a model says of scenes whose captions diffusion is told, rightly and wrongly: a row a picture. */

import { z } from "zod";
import { hashFolder, type Store } from "../../data/index.js";
import { Tensor } from "../../tensor/index.js";
import { defineProducer } from "../../training/index.js";
import { VisionLanguageModel } from "../../vlm/index.js";
import { measureLeakage, type PictureRecords, type Said, toldKinds } from "./measure.js";
import { mismatch, scenePictures, type ToldPicture } from "./pictures.js";

export const toldCaptionsConfig = z.strictObject({
  /** A folder with diffsight.json, whose encoders include a diffusion model. */
  model: z.string().min(1),
  split: z.enum(["validation", "test"]),
  /** Scenes, from the first on. */
  pictures: z.number().int().min(2),
  /** s of the guided features. */
  guidances: z.array(z.number()).min(1),
  /** The longest caption. */
  maxTokens: z.number().int().positive(),
});

export type ToldCaptionsConfig = z.infer<typeof toldCaptionsConfig>;

const saidSchema = z.array(
  z.object({
    told: z.enum(toldKinds),
    guidance: z.number(),
    layers: z.string(),
    text: z.string(),
    likelihood: z.object({ truth: z.number(), mismatched: z.number() }),
  }),
);

/** The scenes with the captions that are told of them. */
export async function toldScenes({
  pictures: count,
  split,
}: Pick<ToldCaptionsConfig, "pictures" | "split">): Promise<ToldPicture[]> {
  return mismatch(await scenePictures({ count, split }));
}

/** The line of each row is what the model says under every condition. */
export const producer = defineProducer<ToldCaptionsConfig>({
  version: 1,
  config: toldCaptionsConfig,
  source: ({ model }) => hashFolder(model),

  async open({ config: { model, guidances, maxTokens, ...scenes } }) {
    const pictures = await toldScenes(scenes);
    const speaker = await VisionLanguageModel.fromPretrained(model, {
      device: "cpu",
      memory: "fast",
      threads: 1,
      host: "here",
      template: "plain",
    });
    const request = { guidances, layers: { all: undefined }, maxTokens };
    return {
      count: pictures.length,
      columns: { likelihood: { dtype: "f32", dims: [1 + 2 * guidances.length, 2] } },
      lines: true,
      async make(from, to) {
        const lines = await measureLeakage(speaker, { ...request, pictures: pictures.slice(from, to) });
        const likelihoods = lines
          .flat()
          .flatMap(({ likelihood }) => [likelihood.truth, likelihood.mismatched]);
        const dims = [to - from, 1 + 2 * guidances.length, 2];
        return { columns: { likelihood: Tensor.f32(dims, likelihoods) }, lines };
      },
      release: () => speaker.release(),
    };
  },
});

/** All rows of a store that the producer has made. */
export function readTold(store: Store): PictureRecords {
  return Array.from({ length: store.rows }, (_, row): Said[] => saidSchema.parse(store.line(row)));
}
