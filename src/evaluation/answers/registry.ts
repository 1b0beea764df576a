/** @file What recipes of judging can name: modules that threads load for themselves. */

import { builtIn, type Registry } from "../../training/index.js";

const ending = import.meta.url.endsWith(".ts") ? "ts" : "js";

/** What recipes of judging can name, beside all that others can. */
export const judgeRegistry: Registry = {
  ...builtIn,
  producers: {
    ...builtIn.producers,
    answers: new URL(`./producer.${ending}`, import.meta.url).href,
    "told-captions": new URL(`../leakage/producer.${ending}`, import.meta.url).href,
  },
};
