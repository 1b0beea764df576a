/** @file What recipes of probes can name: modules that threads load for themselves. */

import { builtIn, type Registry } from "../../training/index.js";

const module = (name: string) =>
  new URL(`./${name}.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url).href;

/** What recipes of probes can name, beside all that others can. */
export const probeRegistry: Registry = {
  tasks: { ...builtIn.tasks, probe: module("task"), pixels: module("pixels") },
  producers: { ...builtIn.producers, drawings: module("drawings") },
};
