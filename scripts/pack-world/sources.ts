/** @file Reads the raw material: Sweet Home 3D's furniture libraries (OBJ, MTL, pictures) and panoramas (EXR). */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

export type Triple = [number, number, number];

/** Where everything was fetched to; see main.ts. */
export const assets = path.resolve(process.env.ASSETS ?? "assets-raw");
const require = createRequire(path.join(assets, "package.json"));
const load = async (id: string) => import(pathToFileURL(require.resolve(id)).href);
// biome-ignore lint/suspicious/noExplicitAny: tools that are no dependencies of the project
export const sharp: any = require("sharp");
// biome-ignore lint/suspicious/noExplicitAny: as above
export const simplifier: any = (await load("meshoptimizer")).MeshoptSimplifier;
await simplifier.ready;

export interface Entry {
  library: string;
  number: number;
  name: string;
  creator: string;
  file: string;
  icon: string;
  /** Metres: across, up, deep. */
  size: Triple;
  rotation: number[] | undefined;
  /** Height above the base at which things can be put. */
  top: number | undefined;
}

export const libraries = ["BlendSwap-CC-0", "BlendSwap-CC-BY", "KatorLegaz", "Reallusion", "Scopia"];

/** Every model of every library, under "library#number". */
export function readCatalogue(): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const library of libraries) {
    const folder = path.join(assets, "sh3d", library);
    const rows: Record<string, Record<string, string>> = {};
    const text = readFileSync(path.join(folder, "PluginFurnitureCatalog.properties"), "latin1");
    for (const line of text.split(/\r?\n/)) {
      const match = /^(\w+)#(\d+)=(.*)$/.exec(line);
      if (match) (rows[match[2]!] ??= {})[match[1]!] = match[3]!;
    }
    for (const [number, row] of Object.entries(rows)) {
      if (!row.name || !row.model) continue;
      entries.set(`${library}#${number}`, {
        library,
        number: Number(number),
        name: row.name,
        creator: row.creator ?? library,
        file: folder + row.model,
        icon: folder + row.icon,
        size: [Number(row.width) / 100, Number(row.height) / 100, Number(row.depth) / 100],
        rotation: row.modelRotation?.split(" ").map(Number),
        top: row.dropOnTopElevation ? Number(row.dropOnTopElevation) / 100 : undefined,
      });
    }
  }
  return entries;
}

export interface Material {
  name: string;
  /** As the file has it: sRGB-like, 0 to 1. */
  colour: Triple;
  opacity: number;
  map: string | undefined;
}

export interface Soup {
  positions: Triple[];
  uvs: [number, number][];
  /** Three corners (position, uv or -1) and a material each. */
  triangles: { corners: [number, number][]; material: number }[];
  materials: Material[];
}

/** Reads an OBJ with its MTL files. */
export function readObj(file: string): Soup {
  const folder = path.dirname(file);
  const soup: Soup = { positions: [], uvs: [], triangles: [], materials: [] };
  const byName = new Map<string, number>();
  let current = -1;
  const materialOf = (name: string): number => {
    if (!byName.has(name)) {
      byName.set(name, soup.materials.length);
      soup.materials.push({ name, colour: [0.8, 0.8, 0.8], opacity: 1, map: undefined });
    }
    return byName.get(name)!;
  };
  const index = (text: string | undefined, count: number) => {
    if (!text) return -1;
    const value = Number.parseInt(text, 10);
    return value < 0 ? count + value : value - 1;
  };
  for (const raw of readFileSync(file, "latin1").split("\n")) {
    const line = raw.trim();
    const parts = line.split(/\s+/);
    if (parts[0] === "v") soup.positions.push([Number(parts[1]), Number(parts[2]), Number(parts[3])]);
    else if (parts[0] === "vt") soup.uvs.push([Number(parts[1]), Number(parts[2])]);
    else if (parts[0] === "usemtl") current = materialOf(parts.slice(1).join(" "));
    else if (parts[0] === "mtllib") readMtl(path.join(folder, line.slice(7).trim()), soup, materialOf);
    else if (parts[0] === "f") {
      const corners = parts.slice(1).map((text): [number, number] => {
        const [position, uv] = text.split("/");
        return [index(position, soup.positions.length), index(uv, soup.uvs.length)];
      });
      if (current < 0) current = materialOf("");
      for (let i = 1; i + 1 < corners.length; i++) {
        soup.triangles.push({ corners: [corners[0]!, corners[i]!, corners[i + 1]!], material: current });
      }
    }
  }
  return soup;
}

function readMtl(file: string, soup: Soup, materialOf: (name: string) => number): void {
  if (!existsSync(file)) return;
  const folder = path.dirname(file);
  let material: Material | undefined;
  for (const raw of readFileSync(file, "latin1").split("\n")) {
    const parts = raw.trim().split(/\s+/);
    const rest = parts.slice(1).join(" ");
    if (parts[0] === "newmtl") material = soup.materials[materialOf(rest)]!;
    else if (!material) continue;
    else if (parts[0] === "Kd") material.colour = parts.slice(1, 4).map(Number) as Triple;
    else if (parts[0] === "d") material.opacity = Number(parts[1]);
    else if (parts[0] === "map_Kd") {
      const named = readdirSync(folder).find((name) => name.toLowerCase() === rest.toLowerCase());
      if (named) material.map = path.join(folder, named);
    }
  }
}

export interface Picture {
  width: number;
  height: number;
  /** RGBA, sRGB. */
  data: Uint8Array;
}

/** A texture brought to at most `side` pixels a side, or nothing when it cannot be read. */
export async function readTexture(
  file: string,
  side: number,
  exact?: [number, number],
): Promise<Picture | undefined> {
  try {
    const { data, info } = await sharp(file)
      .ensureAlpha()
      .resize(
        exact
          ? { width: exact[0], height: exact[1], fit: "fill" }
          : { width: side, height: side, fit: "inside", withoutEnlargement: true },
      )
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data: new Uint8Array(data) };
  } catch {
    return undefined;
  }
}

export interface Radiance {
  width: number;
  height: number;
  /** Linear RGB, rows from the zenith down. */
  data: Float32Array;
}

/**
 * Fills what the source's lossy compression left dark beside bright lights: the brightest and then the darkest value
 * of a neighbourhood (a closing), where a light is near.
 */
function mend(data: Float32Array, width: number, height: number, reach: number): void {
  const spread = (from: Float32Array, by: number, pick: (a: number, b: number) => number, start: number) => {
    const rows = new Float32Array(from.length);
    const both = new Float32Array(from.length);
    const pass = (source: Float32Array, to: Float32Array, dx: number, dy: number) => {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          for (let k = 0; k < 3; k++) {
            let value = start;
            for (let d = -by; d <= by; d++) {
              const column = (x + d * dx + width) % width;
              const row = Math.min(height - 1, Math.max(0, y + d * dy));
              value = pick(value, source[(row * width + column) * 3 + k]!);
            }
            to[(y * width + x) * 3 + k] = value;
          }
        }
      }
    };
    pass(from, rows, 1, 0);
    pass(rows, both, 0, 1);
    return both;
  };
  const near = spread(data, 10, Math.max, 0);
  const closed = spread(spread(data, reach, Math.max, 0), reach, Math.min, Number.POSITIVE_INFINITY);
  for (let i = 0; i < data.length; i++) {
    const light = Math.max(near[i - (i % 3)]!, near[i - (i % 3) + 1]!, near[i - (i % 3) + 2]!);
    if (light > 6) data[i] = Math.max(data[i]!, closed[i]!);
  }
}

/** A panorama of @pmndrs/assets. */
export async function readPanorama(name: string, reach = 2): Promise<Radiance> {
  const modules = path.join(assets, "node_modules");
  const { EXRLoader } = await import(
    pathToFileURL(path.join(modules, "three/examples/jsm/loaders/EXRLoader.js")).href
  );
  const source = await import(pathToFileURL(path.join(modules, `@pmndrs/assets/hdri/${name}.exr.js`)).href);
  const bytes = Buffer.from(source.default.split(",")[1], "base64");
  const loader = new EXRLoader();
  loader.setDataType(1015); // FloatType
  const { width, height, data } = loader.parse(
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
  );
  const flipped = new Float32Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width * 3; x++) {
      const value = data[((height - 1 - y) * width + Math.floor(x / 3)) * 4 + (x % 3)];
      flipped[y * width * 3 + x] = Number.isFinite(value) ? Math.max(0, Math.min(value, 400)) : 400;
    }
  }
  mend(flipped, width, height, reach);
  return { width, height, data: flipped };
}
