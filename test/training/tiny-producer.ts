/** @file A tiny producer for tests: points of three numbers, or another store's points, shifted by what was learnt. */

import { z } from "zod";
import { Tensor } from "../../src/tensor/index.js";
import { defineProducer } from "../../src/training/index.js";

export const producer = defineProducer({
  version: 1,
  credits: "The points are nobody's.",
  config: z.strictObject({
    count: z.number().int().positive().default(100),
    /** Milliseconds that a row takes at least. */
    slow: z.number().default(0),
    /** This row cannot be made. */
    spoiled: z.number().optional(),
  }),
  async open({ config: { count, slow, spoiled }, data, models }) {
    const shift = Number(models.net?.weights.get("in.bias")?.data[0] ?? 0);
    return {
      count: data.points?.rows ?? count,
      columns: { point: { dtype: "f32", dims: [3] } },
      lines: true,
      async make(from, to) {
        const rows = Array.from({ length: to - from }, (_, i) => from + i);
        if (spoiled !== undefined && rows.includes(spoiled)) throw new Error(`row ${spoiled} is spoiled`);
        const end = performance.now() + slow * rows.length;
        while (performance.now() < end);
        const points = rows.map((row) => [Math.sin(row) + shift, Math.cos(3 * row), (row % 7) / 7]);
        return {
          columns: { point: Tensor.f32([rows.length, 3], points.flat()) },
          lines: rows.map((row) => ({ row, name: `punkt ${row} ✓` })),
        };
      },
    };
  },
});
