/** @file What the diorama asks of Node. */

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { failure } from "../tensor/index.js";

const embedded = new URL("../../assets/diorama/world.bin", import.meta.url);

/**
 * Reads the pack, by default the one that comes with the package.
 * @throws DiffsightError FILE_NOT_FOUND
 */
export async function readWorld(source: string | URL = embedded): Promise<Uint8Array> {
  const file = source instanceof URL ? fileURLToPath(source) : source;
  try {
    return await readFile(file);
  } catch (cause) {
    throw failure("FILE_NOT_FOUND", `Cannot read the diorama's pack ${file}: is the package whole?`, cause);
  }
}
