/** @file The weights' host in Node: the file system. */

import { stat } from "node:fs/promises";
import { misuse } from "../tensor/index.js";
import { folderTree, openFile } from "./files.js";
import type { Source, SourceOptions } from "./source.js";

export { writeFileAtomic } from "./files.js";

/** Opens a path. @throws MODEL_MISSING */
export async function openSource(path: string, _options: SourceOptions): Promise<Source> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile()) return { kind: "file", file: await openFile(path) };
  if (found?.isDirectory()) return { kind: "folder", tree: folderTree(path, path) };
  throw misuse("MODEL_MISSING", `There is no file or folder ${path}.`);
}
