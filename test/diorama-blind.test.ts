/** @file The frozen list of twins that the package's CLIP is blind to. */

import path from "node:path";
import { describe, expect, it } from "vitest";
import { type Pattern, twinExample, World } from "../src/diorama/index.js";
import { blindPairs, frozenBlind } from "../src/evaluation/index.js";
import { root } from "./cli.js";
import { imageEmbedder } from "./image-embedder.js";

describe.each(["validation", "test"] as const)("twins of %s", (split) => {
  it("has 150 that CLIP is blind to, of each pattern that it is blind to", async () => {
    const frozen = await frozenBlind(split);
    const full = Object.entries(frozen).filter(([, pairs]) => pairs.length >= 150);
    expect(full.map(([pattern]) => pattern)).toEqual(
      expect.arrayContaining(["orientation", "presence", "state", "count", "relation", "colour", "text"]),
    );
    for (const pairs of Object.values(frozen))
      expect(pairs).toEqual([...new Set(pairs)].sort((a, b) => a - b));
  });

  it("is what CLIP and the pixels say", async () => {
    const frozen = await frozenBlind(split);
    const world = await World.open();
    await using clip = await imageEmbedder(path.join(root, "assets/micro/clip"));
    for (const [pattern, pairs] of Object.entries(frozen) as [Pattern, number[]][]) {
      // The first ones of the list, and all before them, which CLIP tells apart.
      for (let pair = 0; pair <= Math.min(8, pairs[1] ?? 8); pair++) {
        const { renderings } = twinExample(world, pair, { split, pattern });
        const pictures = renderings.map(({ rgb }) => rgb) as [Uint8Array, Uint8Array];
        const embeddings = [await clip.see(pictures[0], 64), await clip.see(pictures[1], 64)] as const;
        const [found] = blindPairs([{ pair, pattern, embeddings, pictures }]);
        // A cosine at the very threshold may fall on either side on another processor.
        if (Math.abs(found!.similarity - 0.95) > 1e-4) expect(found!.blind).toBe(pairs.includes(pair));
      }
    }
  }, 300_000);
});
