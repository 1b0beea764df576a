/** @file Hashes: of files, against damage, and of what something is made from, as its address. */

import { createHash } from "node:crypto";
import { createReadStream, existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { failure } from "../tensor/index.js";
import { modelPath } from "../weights/index.js";

/** SHA-256 in hexadecimal. */
export function hashBytes(...parts: readonly (Uint8Array | string)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

/** SHA-256 of a file, read piece by piece. @throws FILE_ACCESS */
export async function hashFile(path: string, { signal }: { signal?: AbortSignal } = {}): Promise<string> {
  const hash = createHash("sha256");
  try {
    await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash, { signal });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw failure("FILE_ACCESS", `${path} could not be read: ${(cause as Error).message}.`, cause);
  }
  return hash.digest("hex");
}

/**
 * What a model's folder holds, as one hash: configs, tokenizers, templates and weights, not cards and curves. Of the name
 * alone when there is no such folder: an id of the hub.
 * @param model a path, an id, or one of the package's own such as `embedded:sd`
 */
export async function hashFolder(model: string): Promise<string> {
  const path = modelPath(model);
  if (!existsSync(path)) return hashBytes(path);
  const files = readdirSync(path, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.(json|jinja|txt|model|safetensors|bin)$/.test(file))
    .sort();
  const parts: string[] = [];
  for (const file of files) parts.push(file, await hashUnchanged(join(path, file)));
  return hashBytes(parts.join("\n"));
}

/** Hashes of this process's files, by path, size and time of change: models are large, and named by many stages. */
const known = new Map<string, Promise<string>>();

function hashUnchanged(path: string): Promise<string> {
  const { size, mtimeMs } = statSync(path);
  const state = `${path} ${size} ${mtimeMs}`;
  const hash = known.get(state) ?? hashFile(path);
  known.set(state, hash);
  return hash;
}

/** JSON with the fields of every object in one order, so that equal values have equal texts. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === "object" && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** The address of whatever is made from these values alone. */
export function contentKey(value: unknown): string {
  return hashBytes(canonicalJson(value));
}
