/** @file The weights' host in Node: the file system, and the hub's cache on it. */

import { existsSync, readdirSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { failure, misuse } from "../tensor/index.js";
import { modelPath } from "./embedded.js";
import { folderTree, openFile } from "./files.js";
import { openHub } from "./hub.js";
import { isModelId } from "./hub-api.js";
import type { Source, SourceOptions } from "./source.js";

export { writeFileAtomic } from "./files.js";
export { hubCacheFolder } from "./hub-cache.js";
export { writeFolderAtomic } from "./write-folder.js";

const embeddedModels = fileURLToPath(new URL("../../assets/micro", import.meta.url));

/** The names of the models that come with the package. */
export const embeddedNames = (): string[] =>
  readdirSync(embeddedModels, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );

/** The folder of a model that comes with the package, or of a part of one: "vlm/llm". @throws misuse MODEL_MISSING */
export function embeddedModel(name: string): string {
  const names = embeddedNames();
  const [model, ...part] = name.split("/");
  const folder = join(embeddedModels, name);
  if (names.includes(model!) && !part.includes("..") && existsSync(folder)) return folder;
  const there = names.map((one) => `embedded:${one}`).join(", ");
  throw misuse("MODEL_MISSING", `This package has no model "embedded:${name}": there are ${there}.`);
}

/** Opens a path, or else an id of the hub. @throws MODEL_MISSING, and what the hub may raise */
export async function openSource(reference: string, options: SourceOptions): Promise<Source> {
  const idOrPath = modelPath(reference);
  const found = await stat(idOrPath).catch(() => undefined);
  if (found?.isFile()) return { kind: "file", file: await openFile(idOrPath) };
  if (found?.isDirectory()) return { kind: "folder", tree: folderTree(idOrPath, idOrPath) };
  if (isModelId(idOrPath)) return { kind: "folder", tree: await openHub(idOrPath, options) };
  throw failure(
    "MODEL_MISSING",
    `There is no file or folder ${idOrPath}, and a model's id looks like "org/name".`,
  );
}
