/** @file What recipes can name: tasks and producers, each a module that threads load for themselves. */

import { misuse } from "../tensor/index.js";
import type { Producer } from "./producer.js";
import type { Task } from "./task.js";

/** Modules by the name that a recipe uses: URLs. */
export interface Registry {
  tasks: Readonly<Record<string, string>>;
  producers: Readonly<Record<string, string>>;
}

/** From a checkout modules are TypeScript. */
const ending = import.meta.url.endsWith(".ts") ? "ts" : "js";
const modules = (folder: string, names: readonly string[]) =>
  Object.fromEntries(
    names.map((name) => [name, new URL(`./${folder}/${name}.${ending}`, import.meta.url).href]),
  );

export const builtIn: Registry = {
  tasks: modules("tasks", ["autoencoder", "clip", "diffusion", "speaker"]),
  producers: modules("producers", ["scenes", "twins", "latents", "conversations", "features"]),
};

function find(kind: string, modules: Readonly<Record<string, string>>, name: string, at: string): string {
  const module = modules[name];
  if (module) return module;
  throw misuse(
    "RECIPE",
    `${at}: no ${kind} is called "${name}": there are ${Object.keys(modules).join(", ")}`,
  );
}

/** @param at the recipe's path, for the message @throws DiffsightError RECIPE */
export async function loadTask(
  { tasks }: Registry,
  name: string,
  at: string,
): Promise<{ module: string; task: Task }> {
  const module = find("task", tasks, name, at);
  return { module, task: ((await import(module)) as { task: Task }).task };
}

/** @param at the recipe's path, for the message @throws DiffsightError RECIPE */
export async function loadProducer(
  { producers }: Registry,
  name: string,
  at: string,
): Promise<{ module: string; producer: Producer }> {
  const module = find("producer", producers, name, at);
  return { module, producer: ((await import(module)) as { producer: Producer }).producer };
}
