/** @file The weights' host in Node: the file system, and the hub's cache on it. */

import { stat } from "node:fs/promises";
import { failure } from "../tensor/index.js";
import { folderTree, openFile } from "./files.js";
import { openHub } from "./hub.js";
import { isModelId } from "./hub-api.js";
import type { Source, SourceOptions } from "./source.js";

export { writeFileAtomic } from "./files.js";
export { hubCacheFolder } from "./hub-cache.js";
export { writeFolderAtomic } from "./write-folder.js";

/** Opens a path, or else an id of the hub. @throws MODEL_MISSING, and what the hub may raise */
export async function openSource(idOrPath: string, options: SourceOptions): Promise<Source> {
  const found = await stat(idOrPath).catch(() => undefined);
  if (found?.isFile()) return { kind: "file", file: await openFile(idOrPath) };
  if (found?.isDirectory()) return { kind: "folder", tree: folderTree(idOrPath, idOrPath) };
  if (isModelId(idOrPath)) return { kind: "folder", tree: await openHub(idOrPath, options) };
  throw failure(
    "MODEL_MISSING",
    `There is no file or folder ${idOrPath}, and a model's id looks like "org/name".`,
  );
}
