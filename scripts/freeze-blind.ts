/**
 * @file Freezes the twins that the package's CLIP is blind to: the first so many of each pattern, by number. To be run
 * again when that CLIP changes. assets/diorama/blind.json; test/diorama-blind.test.ts looks at some of them again.
 *
 *   node --conditions=source --import tsx scripts/freeze-blind.ts
 */

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Pattern, type Split, twinExample, twinPatterns, World } from "../src/diorama/index.js";
import { blindPairs, type FrozenBlind } from "../src/evaluation/index.js";
import { imageEmbedder } from "../test/image-embedder.js";

const wanted = 150;
/** Patterns with fewer than one blind pair in ten are left as they are found among so many. */
const candidates = 1500;
const file = fileURLToPath(new URL("../assets/diorama/blind.json", import.meta.url));
const world = await World.open();
await using clip = await imageEmbedder(fileURLToPath(new URL("../assets/micro/clip", import.meta.url)));

async function mine(split: Split, pattern: Pattern): Promise<{ tried: number; pairs: number[] }> {
  const pairs: number[] = [];
  let tried = 0;
  for (; tried < candidates && pairs.length < wanted; tried++) {
    const { renderings } = twinExample(world, tried, { split, pattern });
    const pictures = renderings.map(({ rgb }) => rgb) as [Uint8Array, Uint8Array];
    const embeddings = [await clip.see(pictures[0], 64), await clip.see(pictures[1], 64)] as const;
    const [found] = blindPairs([{ pair: tried, pattern, embeddings, pictures }]);
    if (found!.blind) pairs.push(tried);
  }
  process.stderr.write(`${split} ${pattern}: ${pairs.length} of ${tried}\n`);
  return { tried, pairs };
}

const frozen: FrozenBlind = { validation: {}, test: {} };
for (const split of ["validation", "test"] as const)
  for (const pattern of twinPatterns(split)) frozen[split][pattern] = await mine(split, pattern);
const text = JSON.stringify(frozen, null, 2).replace(/\[[\s\d,]+\]/g, (list) => list.replace(/\s+/g, ""));
writeFileSync(file, `${text}\n`);
