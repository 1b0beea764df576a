/**
 * @file Makes docs/pictures/questions.png: what three questions change in the features of one picture.
 *
 *   node --conditions=source --import tsx scripts/make-pictures.ts
 */

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { DiffusionEncoder } from "../src/diffusion/index.js";
import { contactSheet, decodeImage, encodePng, normMap, overlay, resize } from "../src/image/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const side = 224;
const tap = "U-L2-R1-B0-Cross-Q";
const questions = ["where is the ball?", "which way is the rabbit facing?", "is there a cactus?"];

const picture = `${root}assets/scenes/ball-rabbit.png`;
const shown = resize(await decodeImage(picture), side, side, "bicubic");
await using eye = await DiffusionEncoder.fromPretrained(undefined, { device: "cpu" });
const maps = [];
for (const prompt of questions) {
  const { features } = await eye.encode(picture, { prompt, taps: [tap], parts: ["delta"], ensemble: 4 });
  maps.push(normMap(features));
}
// One scale for all: the strongest cells may saturate.
const sorted = Float32Array.from(maps.flatMap((map) => [...map.toFloat32()])).sort();
const strong = sorted[Math.floor(0.99 * sorted.length)]!;
const tiles = maps.map((map, i) => ({
  image: overlay(shown, map, { normalise: [0, strong] }),
  caption: questions[i]!,
}));
writeFileSync(
  `${root}docs/pictures/questions.png`,
  encodePng(contactSheet([{ image: shown, caption: "the picture" }, ...tiles], { columns: 4 })),
);
