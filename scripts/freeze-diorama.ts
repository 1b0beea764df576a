/**
 * @file Freezes the questions that the world is tested with: how many, which draws were taken, and hashes of the
 * questions and of a sample of pictures. test/diorama-frozen.test.ts makes them again.
 *
 *   node --conditions=source --import tsx scripts/freeze-diorama.ts
 */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { example, type Pattern, type Split, twinExample, twinPatterns, World } from "../src/diorama/index.js";
import { type Frozen, type FrozenTwins, pictureHash, questionHash } from "../test/diorama-frozen.js";

const file = fileURLToPath(new URL("../assets/diorama/frozen.json", import.meta.url));
const world = await World.open();

function freezeTwins(split: Split, pairs: number): Partial<Record<Pattern, FrozenTwins>> {
  return Object.fromEntries(
    twinPatterns(split).map((pattern) => {
      const retries: Record<string, number> = {};
      for (let i = 0; i < pairs; i++) {
        const { attempt } = twinExample(world, i, { split, pattern });
        if (attempt > 0) retries[i] = attempt;
      }
      const twins = { pairs, retries, questions: questionHash(split, pattern, pairs, retries) };
      process.stderr.write(`${split} ${pattern}: ${Object.keys(retries).length} drawn again\n`);
      return [pattern, twins];
    }),
  );
}

function freezeScenes(count: number): Frozen["scenes"] {
  const retries: Record<string, number> = {};
  for (let i = 0; i < count; i++) {
    const { attempt } = example(world, i, { split: "test" });
    if (attempt > 0) retries[i] = attempt;
  }
  return { count, retries, questions: questionHash("test", undefined, count, retries) };
}

const frozen: Frozen = {
  seed: 0,
  scenes: freezeScenes(3000),
  twins: { test: freezeTwins("test", 500), unseen: freezeTwins("unseen", 300) },
  pictures: { each: 2, hash: pictureHash(world, 2) },
};
const text = `${JSON.stringify(frozen, null, 2).replace(/\{\n\s+("\d+": \d+,?\s*)+\}/g, (some) => some.replace(/\s+/g, " "))}\n`;
let before = "";
try {
  before = readFileSync(file, "utf8");
} catch {}
writeFileSync(file, text);
process.stderr.write(text === before ? "unchanged\n" : "changed\n");
