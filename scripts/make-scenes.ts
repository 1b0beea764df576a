/**
 * @file Renders the pictures of the demo and of the examples into assets/scenes: of a world that no recipe and no test
 * of the embedded models uses.
 *
 *   node --conditions=source --import tsx scripts/make-scenes.ts
 */

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { example, type Pattern, sceneRecord, World } from "../src/diorama/index.js";
import { encodePng } from "../src/image/index.js";

/** Pixels: what the embedded models were taught on. */
const side = 64;

const folder = fileURLToPath(new URL("../assets/scenes", import.meta.url));

/** File name, what the scene was made to ask, and its number. */
const chosen: readonly (readonly [name: string, pattern: Pattern, index: number])[] = [
  ["ball-rabbit", "orientation", 1],
  ["stools", "count", 5],
  ["teddy-table", "relation", 1],
  ["dog", "presence", 22],
  ["box", "state", 20],
  ["horses", "count", 1],
  ["cat", "orientation", 9],
  ["chair", "state", 6],
];

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const world = await World.open();
const lines = chosen.map(([name, pattern, index]) => {
  const found = example(world, index, { split: "validation", seed: 2, pattern });
  const image = `${name}.png`;
  writeFileSync(
    path.join(folder, image),
    encodePng({ data: found.rendering.rgb, width: side, height: side }),
  );
  return JSON.stringify(sceneRecord(found, { image }));
});
writeFileSync(path.join(folder, "scenes.json"), `[\n  ${lines.join(",\n  ")}\n]\n`);
process.stderr.write(`${folder}: ${lines.length} scenes\n`);
