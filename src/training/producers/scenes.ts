/** @file Scenes of the diorama: pictures, and with each the line of `scenes.jsonl` that tells of it. */

import { z } from "zod";
import { hashBytes } from "../../data/index.js";
import { credits, example, sceneRecord, splits, World } from "../../diorama/index.js";
import { Tensor } from "../../tensor/index.js";
import { defineProducer } from "../producer.js";
import { pictureColumn } from "../tasks/pictures.js";

export const scenesConfig = z.strictObject({
  count: z.number().int().positive(),
  split: z.enum(splits as readonly [string, ...string[]] as typeof splits).default("train"),
  /** Pixels a side. */
  size: z.number().int().min(16).max(1024).default(64),
  /** Names a world of scenes. */
  seed: z.number().int().min(0).default(0),
  /** Pictures of object numbers too, in the column "mask". */
  masks: z.boolean().default(false),
});

export type ScenesProduction = z.infer<typeof scenesConfig>;

const witnesses = 8;

/** The scenes 0 .. count - 1 of a split, each a function of its number. */
export const producer = defineProducer<ScenesProduction>({
  version: 1,
  credits,
  config: scenesConfig,

  /** A few scenes stand for the world's pack and for how it is drawn. */
  async source() {
    const world = await World.open();
    const made = Array.from({ length: witnesses }, (_, i) => example(world, i));
    return hashBytes(
      ...made.flatMap(({ rendering, captions, questions }) => [
        rendering.rgb,
        JSON.stringify({ captions, questions }),
      ]),
    );
  },

  async open({ config: { count, split, size, seed, masks } }) {
    const world = await World.open();
    return {
      count,
      columns: {
        [pictureColumn]: { dtype: "u8", dims: [size, size, 3] },
        ...(masks && { mask: { dtype: "u8", dims: [size, size] } as const }),
      },
      lines: true,
      async make(from, to) {
        const rows = to - from;
        const pictures = new Uint8Array(rows * size * size * 3);
        const objects = new Uint8Array(masks ? rows * size * size : 0);
        const lines = Array.from({ length: rows }, (_, i) => {
          const made = example(world, from + i, { split, size, seed });
          const { rgb, mask } = made.rendering;
          pictures.set(rgb, i * size * size * 3);
          if (masks) objects.set(mask, i * size * size);
          return { ...sceneRecord(made, { image: "" }), image: undefined }; // a row has no file
        });
        return {
          columns: {
            [pictureColumn]: new Tensor("u8", [rows, size, size, 3], pictures),
            ...(masks && { mask: new Tensor("u8", [rows, size, size], objects) }),
          },
          lines,
        };
      },
    };
  },
});
