/** @file What recipes of probes and of judging can name: modules that threads load for themselves. */

import { builtIn, type Registry } from "../training/index.js";

const module = (name: string) =>
  new URL(`./${name}.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url).href;

/** What they can name, beside all that others can. */
export const evaluationRegistry: Registry = {
  tasks: { ...builtIn.tasks, probe: module("probe/task"), pixels: module("probe/pixels") },
  producers: {
    ...builtIn.producers,
    drawings: module("probe/drawings"),
    answers: module("answers/producer"),
    "told-captions": module("leakage/producer"),
  },
};
