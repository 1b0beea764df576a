/**
 * @file Makes the pictures of the guides: docs/pictures/questions.png, what three questions change in the features of one
 * picture; docs/pictures/answers.png, what the embedded model answers and where it looked.
 *
 *   node --conditions=source --import tsx scripts/make-pictures.ts
 */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { changesOf, mapSide } from "../src/cli/demo/tour.js";
import { DiffusionEncoder } from "../src/diffusion/index.js";
import { contactSheet, decodeImage, encodePng, overlay, resize, type Tile } from "../src/image/index.js";
import type { Tensor } from "../src/tensor/index.js";
import { VisionLanguageModel } from "../src/vlm/index.js";

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

const asked = [
  {
    file: "teddy-table.png",
    question: "where is the teddy? on the table or under the table?",
    word: "teddy",
  },
  { file: "dog.png", question: "does the dog have a hat? a hat or no hat?", word: "hat" },
];

await using model = await VisionLanguageModel.fromPretrained("embedded:vlm", { device: "cpu" });
const answered: Tile[] = [];
for (const { file, question, word } of asked) {
  const bytes = readFileSync(`${root}assets/scenes/${file}`);
  const answer = (await model.ask(bytes, question).whole()).trim();
  const [looks] = await model.explain(bytes, question);
  const { image, delta, words } = looks![0]!;
  const large = resize(image, mapSide, mapSide, "bicubic");
  const shown = (map: Tensor, caption: string) => ({ image: overlay(large, map), caption });
  answered.push(
    { image: large, caption: `${question} It says: ${answer}.` },
    shown(delta, "what the question changed"),
    shown(words.word(word), `where “${word}” looks`),
  );
}
writeFileSync(`${root}docs/pictures/answers.png`, encodePng(contactSheet(answered, { columns: 3 })));
