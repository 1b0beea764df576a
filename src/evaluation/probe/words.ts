/** @file The words of the embedded world. */

import { vocabulary } from "../../diorama/index.js";

/** The embedded world's words as heads count them: letters and digits alone. */
export const worldWords: readonly string[] = [
  ...new Set(vocabulary.flatMap((word) => word.toLowerCase().match(/[a-z0-9]+/g) ?? [])),
];
