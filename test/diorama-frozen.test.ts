/** @file The frozen test questions are still what they were: scripts/freeze-diorama.ts made the file. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { example, type Pattern, twinExample, twinPatterns, twinsOf, World } from "../src/diorama/index.js";
import { type Frozen, pictureHash, questionHash } from "./diorama-frozen.js";

const file = new URL("../assets/diorama/frozen.json", import.meta.url);
const { scenes, twins, pictures }: Frozen = JSON.parse(readFileSync(file, "utf8"));
const cases = (["test", "unseen"] as const).flatMap((split) =>
  twinPatterns(split).map((pattern) => ({ split, pattern, frozen: twins[split][pattern]! })),
);

describe("frozen questions", () => {
  it.each(cases)("of $split $pattern are the same, at least 300 pairs", ({ split, pattern, frozen }) => {
    expect(frozen.pairs).toBeGreaterThanOrEqual(300);
    expect(questionHash(split, pattern, frozen.pairs, frozen.retries)).toBe(frozen.questions);
  });

  it("of single scenes are the same", () => {
    expect(questionHash("test", undefined, scenes.count, scenes.retries)).toBe(scenes.questions);
  });

  it("are hardly ever the same question of the same picture's words twice", () => {
    for (const { split, pattern, frozen } of cases) {
      const texts = Array.from({ length: frozen.pairs }, (_, i) =>
        JSON.stringify(twinsOf(i, { split, pattern }, frozen.retries[i] ?? 0).scenes),
      );
      expect(new Set(texts).size).toBe(frozen.pairs);
    }
  });

  it("are drawn again where a picture is not fair, and only there", async () => {
    const world = await World.open();
    const retried = cases.flatMap(({ split, pattern, frozen }) =>
      [...Object.keys(frozen.retries).slice(0, 2).map(Number), 7].map((index) => ({ split, pattern, index })),
    );
    for (const { split, pattern, index } of retried) {
      const { attempt } = twinExample(world, index, { split, pattern: pattern as Pattern });
      expect(attempt).toBe(twins[split][pattern]!.retries[index] ?? 0);
    }
    for (let i = 0; i < 20; i++)
      expect(example(world, i, { split: "test" }).attempt).toBe(scenes.retries[i] ?? 0);
  });

  it("show the same pictures", async () => {
    expect(pictureHash(await World.open(), pictures.each)).toBe(pictures.hash);
  });
});
