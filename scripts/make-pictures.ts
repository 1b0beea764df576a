/**
 * @file Makes docs/pictures/questions.png: what three questions change in the features of one picture.
 *
 *   node --conditions=source --import tsx scripts/make-pictures.ts
 */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { changesOf, mapSide } from "../src/cli/demo/tour.js";
import { DiffusionEncoder } from "../src/diffusion/index.js";
import { contactSheet, decodeImage, encodePng, resize } from "../src/image/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const questions = ["where is the ball?", "which way is the rabbit facing?", "is there a cactus?"];

const picture = readFileSync(`${root}assets/scenes/ball-rabbit.png`);
const image = await decodeImage(picture);
await using eye = await DiffusionEncoder.fromPretrained(undefined, { device: "cpu" });
const changes = await changesOf(eye, picture, image, questions, new AbortController().signal);
const tiles = [
  { image: resize(image, mapSide, mapSide, "bicubic"), caption: "the picture" },
  ...(await Promise.all(
    changes.map(async ({ text, map }) => ({ image: await decodeImage(map), caption: text })),
  )),
];
writeFileSync(`${root}docs/pictures/questions.png`, encodePng(contactSheet(tiles, { columns: 4 })));
