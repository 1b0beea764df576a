/** @file The text room's door. */

export * from "./clip-files.js";
export * from "./clip-tokenizer.js";
export * from "./clip-vocabulary.js";
