/** @file Random uses of the operations of language models. */

import fc from "fast-check";
import * as graph from "../../src/graph/index.js";
import type { Use } from "./cases.js";

const size = (max: number) => fc.integer({ min: 1, max });

export const languageUses: Record<"rotary" | "cachedAttention" | "quantizedLinear", fc.Arbitrary<Use>> = {
  rotary: fc
    .record({
      batch: size(3),
      length: size(7),
      heads: size(4),
      half: fc.constantFrom(1, 4, 8, 20),
      own: fc.boolean(),
    })
    .map(({ batch, length, heads, half, own }) => (bench) => {
      const angles = [own ? batch * length : length, half];
      const [cos, sin] = [bench.constant(angles), bench.constant(angles)];
      return graph.rotary(bench.input([batch, length, 2 * heads * half]), cos, sin, { heads });
    }),
  cachedAttention: fc
    .record({
      length: size(9),
      past: size(20),
      kvHeads: size(3),
      groups: size(3),
      width: fc.constantFrom(1, 3, 8, 40),
      widthV: fc.option(fc.constantFrom(1, 8, 16), { nil: undefined }),
      scale: fc.constantFrom(1, 0.3),
    })
    .map(({ length, past, kvHeads, groups, width, widthV = width, scale }) => (bench) => {
      const heads = kvHeads * groups;
      const [q, k, v] = [heads * width, kvHeads * width, kvHeads * widthV].map((channels) =>
        bench.input([1, length, channels]),
      );
      return graph.cachedAttention(q!, k!, v!, {
        pastKeys: bench.input([past, kvHeads, width]),
        pastValues: bench.input([past, kvHeads, widthV]),
        bias: bench.input([groups * length, past + length]),
        heads,
        scale,
      });
    }),
  quantizedLinear: fc
    .record({
      rows: fc.array(size(4), { maxLength: 2 }),
      blocks: size(4),
      out: size(40),
      bits: fc.constantFrom(4 as const, 8 as const),
      block: fc.constantFrom(16, 32, 64),
      biased: fc.boolean(),
    })
    .map(({ rows, blocks, out, bits, block, biased }) => (bench) => {
      const packed = bench.random([out, blocks, (block * bits) / 8]);
      const bytes = Uint8Array.from(packed.toFloat32(), (one) => Math.floor(Math.abs(one) * 1e4) % 256);
      const weight = graph.parameter("weight", packed.dims, "u8", { bytes });
      const scales = bench.parameter([out, blocks], "f32", 2 ** (2 * bits - 2) * blocks * block);
      const bias = biased ? bench.parameter([out]) : undefined;
      const x = bench.input([...rows, blocks * block]);
      return graph.quantizedLinear(x, weight, scales, bias, { bits, block, activations: "f32" });
    }),
};
