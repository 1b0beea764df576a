/** @file Where `extract` puts features: one file, or a folder of files with a manifest; and what is there already. */

import { open, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import type { Features } from "../diffusion/index.js";
import {
  encodeNpy,
  encodeSafetensors,
  misuse,
  parseSafetensorsHeader,
  safetensorsHeaderLength,
} from "../tensor/index.js";
import type { NamedImage } from "./images.js";
import type { Shell } from "./shell.js";
import { version } from "./version.js";

export type FeatureFormat = "safetensors" | "npy";

/** What the manifest says of an image. */
export interface Entry {
  image: string;
  /** Relative to the manifest; of several npy files their folder. */
  file: string;
  request: Readonly<Record<string, unknown>>;
  tensors: Record<string, { dtype: string; shape: readonly number[] }>;
}

export interface Manifest {
  format: "diffsight-features";
  version: string;
  images: Entry[];
  failed: { image: string; error: string }[];
}

export interface Target {
  /** As the user wrote it; "-" is stdout. */
  path: string;
  /** Whether the path is a folder of many files and a manifest, or the only file. */
  isFolder: boolean;
  format: FeatureFormat;
}

/** @throws misuse OUT when the number of images, the ending and the format do not go together */
export async function chooseTarget(path: string, images: number, format?: FeatureFormat): Promise<Target> {
  const ending = extname(path).slice(1).toLowerCase();
  const known = ending === "safetensors" || ending === "npy" ? ending : undefined;
  const isThere = (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
  const isFolder = path !== "-" && (known === undefined || isThere);
  if (!isFolder && images > 1)
    throw misuse("OUT", `--out ${path} is one file, and there are ${images} images: give a folder.`);
  if (!isFolder && known && format && known !== format)
    throw misuse("OUT", `--out ${path} ends in .${known}, but --format is ${format}.`);
  return { path, isFolder, format: format ?? (isFolder ? undefined : known) ?? "safetensors" };
}

/** Writes one image's features; their request travels along in the file's metadata (npy has none). */
export async function writeFeatures(
  { source, name }: NamedImage,
  { tensors, request }: Features,
  { path, isFolder, format }: Target,
  shell: Shell,
): Promise<Entry> {
  const described = { version, ...request };
  const shapes = [...tensors].map(([key, { dtype, dims }]) => [key, { dtype, shape: dims }]);
  const file = isFolder ? `${name}.${format}` : "";
  const entry = { image: source, file, request: described, tensors: Object.fromEntries(shapes) };
  const place = join(isFolder ? path : "", isFolder ? file : path);
  if (format === "safetensors") {
    await shell.write(place, encodeSafetensors(tensors, { diffsight: JSON.stringify(described) }));
    return entry;
  }
  if (tensors.size === 1) {
    const [single] = tensors.values();
    await shell.write(place, encodeNpy(single!));
    return entry;
  }
  if (!isFolder) {
    throw misuse(
      "OUT",
      `A .npy file holds one tensor, and there are ${tensors.size}: give a folder, or a .safetensors file.`,
    );
  }
  for (const [key, tensor] of tensors) await shell.write(join(path, name, `${key}.npy`), encodeNpy(tensor));
  return { ...entry, file: name };
}

/** The manifest of an earlier run; nothing when there is none, or it is another program's. */
export async function readManifest({ path }: Target): Promise<Manifest | undefined> {
  try {
    const manifest = JSON.parse(await readFile(join(path, "manifest.json"), "utf8")) as Manifest;
    return manifest.format === "diffsight-features" ? manifest : undefined;
  } catch {
    return undefined;
  }
}

/**
 * What was written for an image before, if its request agrees with `wanted` in all that this names. Safetensors tell it
 * themselves; npy files are looked up in the manifest.
 */
export async function currentEntry(
  { source, name }: NamedImage,
  wanted: Readonly<Record<string, unknown>>,
  { path, isFolder, format }: Target,
  manifest: Manifest | undefined,
): Promise<Entry | undefined> {
  const file = isFolder ? `${name}.${format}` : "";
  const entry =
    format === "safetensors"
      ? await describedEntry(source, file, isFolder ? join(path, file) : path)
      : manifest?.images.find(({ image }) => image === source);
  if (!entry || (isFolder && !(await stat(join(path, entry.file)).catch(() => undefined)))) return undefined;
  const agrees = Object.entries(wanted).every(
    ([key, value]) => JSON.stringify(entry.request[key]) === JSON.stringify(value),
  );
  return agrees ? entry : undefined;
}

async function describedEntry(image: string, file: string, place: string): Promise<Entry | undefined> {
  const handle = await open(place).catch(() => undefined);
  try {
    if (!handle) return undefined;
    const { size } = await handle.stat();
    const start = new Uint8Array(Math.min(size, 8));
    await handle.read(start, 0, start.length, 0);
    const header = new Uint8Array(8 + safetensorsHeaderLength(start, size));
    await handle.read(header, 0, header.length, 0);
    const { entries, metadata } = parseSafetensorsHeader(header, size);
    const shapes = [...entries].map(([key, { dtype, dims }]) => [key, { dtype, shape: dims }]);
    return {
      image,
      file,
      request: JSON.parse(metadata.diffsight ?? "{}") as Entry["request"],
      tensors: Object.fromEntries(shapes),
    };
  } catch {
    // Not a file of features: it is written anew.
    return undefined;
  } finally {
    await handle?.close();
  }
}
