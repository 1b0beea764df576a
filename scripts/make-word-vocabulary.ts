/** @file Writes test/golden/tokenizer-world: a word vocabulary, before scripts/make-tokenizer-goldens.py asks transformers. */

import { mkdirSync, writeFileSync } from "node:fs";
import { wordVocabulary } from "../src/text/index.js";

const folder = new URL("../test/golden/tokenizer-world/", import.meta.url);
const words = [
  "a",
  "dog",
  "cat",
  "is",
  "the",
  "red",
  "where",
  "left",
  "right",
  "of",
  "to",
  "?",
  "teddy",
  "naïve",
  "犬",
];
const spoken = ["USER:", "ASSISTANT:"];

mkdirSync(folder, { recursive: true });
for (const [name, text] of Object.entries(wordVocabulary([...words, ...spoken]))) {
  writeFileSync(new URL(name, folder), text);
}
