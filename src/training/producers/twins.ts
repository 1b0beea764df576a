/** @file Twins of the diorama: the same scene twice with one fact changed, two rows one after the other. */

import { z } from "zod";
import {
  credits,
  type Pattern,
  patterns,
  splits,
  twinExample,
  twinPatterns,
  twinRecords,
  World,
} from "../../diorama/index.js";
import { Tensor } from "../../tensor/index.js";
import { defineProducer } from "../producer.js";
import { pictureColumn } from "../tasks/pictures.js";
import { producer as scenes, scenesConfig } from "./scenes.js";

export const twinsConfig = z.strictObject({
  /** Pairs of each pattern: the first so many. */
  pairs: z.number().int().positive(),
  /** After them, by pattern, the numbers of others; those that are among the first are not repeated. */
  more: z
    .partialRecord(
      z.enum(patterns as readonly [string, ...string[]] as typeof patterns),
      z.array(z.number().int().min(0)),
    )
    .optional(),
  split: z.enum(splits as readonly [string, ...string[]] as typeof splits).default("validation"),
  /** Pixels a side. */
  size: z.number().int().min(16).max(1024).default(64),
  /** Names a world of scenes. */
  seed: z.number().int().min(0).default(0),
});

export type TwinsProduction = z.infer<typeof twinsConfig>;

/** Which twins each pair is: the patterns in turn, then what is asked for beside them. */
function plannedPairs({ pairs, more = {}, split }: TwinsProduction): { pattern: Pattern; index: number }[] {
  const asked = twinPatterns(split);
  const first = Array.from({ length: pairs * asked.length }, (_, pair) => ({
    pattern: asked[pair % asked.length]!,
    index: Math.floor(pair / asked.length),
  }));
  const others = asked.flatMap((pattern) =>
    (more[pattern] ?? []).filter((index) => index >= pairs).map((index) => ({ pattern, index })),
  );
  return [...first, ...others];
}

/** Row 2 p + i holds twin i of pair p. */
export const producer = defineProducer<TwinsProduction>({
  version: 1,
  credits,
  config: twinsConfig,
  source: ({ size }) => scenes.source!(scenesConfig.parse({ count: 1, size })),

  async open({ config }) {
    const { split, size, seed } = config;
    const world = await World.open();
    const planned = plannedPairs(config);
    return {
      count: 2 * planned.length,
      columns: { [pictureColumn]: { dtype: "u8", dims: [size, size, 3] } },
      lines: true,
      async make(from, to) {
        const pictures = new Uint8Array((to - from) * size * size * 3);
        const lines: unknown[] = [];
        for (let pair = Math.floor(from / 2); 2 * pair < to; pair++) {
          const { pattern, index } = planned[pair]!;
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
