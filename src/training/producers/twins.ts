/** @file Twins of the diorama: the same scene twice with one fact changed, two rows one after the other. */

import { z } from "zod";
import { splits, twinExample, twinPatterns, twinRecords, World } from "../../diorama/index.js";
import { Tensor } from "../../tensor/index.js";
import { defineProducer } from "../producer.js";
import { pictureColumn } from "../tasks/pictures.js";
import { producer as scenes, scenesConfig } from "./scenes.js";

export const twinsConfig = z.strictObject({
  /** Pairs of each pattern. */
  pairs: z.number().int().positive(),
  split: z.enum(splits as readonly [string, ...string[]] as typeof splits).default("validation"),
  /** Pixels a side. */
  size: z.number().int().min(16).max(1024).default(64),
  /** Names a world of scenes. */
  seed: z.number().int().min(0).default(0),
});

export type TwinsProduction = z.infer<typeof twinsConfig>;

/** Row 2 p + i holds twin i of pair p; pairs go through the patterns in turn. */
export const producer = defineProducer<TwinsProduction>({
  version: 1,
  config: twinsConfig,
  source: ({ size }) => scenes.source!(scenesConfig.parse({ count: 1, size })),

  async open({ config: { pairs, split, size, seed } }) {
    const world = await World.open();
    const patterns = twinPatterns(split);
    return {
      count: 2 * pairs * patterns.length,
      columns: { [pictureColumn]: { dtype: "u8", dims: [size, size, 3] } },
      lines: true,
      async make(from, to) {
        const pictures = new Uint8Array((to - from) * size * size * 3);
        const lines: unknown[] = [];
        for (let pair = Math.floor(from / 2); 2 * pair < to; pair++) {
          const pattern = patterns[pair % patterns.length]!;
          const index = Math.floor(pair / patterns.length);
          const made = twinExample(world, index, { split, size, seed, pattern });
          const records = twinRecords(made, [{ image: "" }, { image: "" }], pair);
          for (const i of [0, 1] as const) {
            const row = 2 * pair + i - from;
            if (row < 0 || row >= to - from) continue;
            pictures.set(made.renderings[i].rgb, row * size * size * 3);
            lines[row] = { ...records[i], image: undefined };
          }
        }
        return {
          columns: { [pictureColumn]: new Tensor("u8", [to - from, size, size, 3], pictures) },
          lines,
        };
      },
    };
  },
});
