/**
 * @file Packs the diorama's world into assets/diorama/world.bin, and writes its part of assets/ATTRIBUTION.md.
 *
 * Needs, in the folder $ASSETS: sh3d/<library>/, the unzipped .sh3f libraries of Debian's sweethome3d-furniture 1.8-1,
 * and node_modules/ with three, sharp, meshoptimizer 1.3 and @pmndrs/assets 1.7:
 *
 *     apt-get download sweethome3d-furniture && dpkg -x sweethome3d-furniture_*.deb deb
 *     for z in deb/usr/share/sweethome3d/furniture/*.sh3f; do unzip -q -d sh3d/$(basename $z .sh3f) $z; done
 *     npm install --ignore-scripts three sharp meshoptimizer@1.3 @pmndrs/assets@1.7
 *     ASSETS=$PWD node --conditions=source --import tsx scripts/pack-world/main.ts   # in the checkout
 */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { deserialize, serialize } from "node:v8";
import { zlibSync } from "fflate";
import {
  checksum,
  magic,
  type PackedMaterial,
  type PackedTexture,
  type PackIndex,
} from "../../src/diorama/pack.js";
import { makePanorama } from "./light.js";
import { models, panoramas } from "./models.js";
import { makeShape, type Shape, type ShapeOptions, shapeVersion } from "./shape.js";
import { signModel, signShape } from "./sign.js";
import { assets, type Entry, readCatalogue, readTexture, type Triple } from "./sources.js";
import { encodePicture } from "./wavelet.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const only = process.argv[2]?.split(",");
const linear = (c: Triple) => c.map((x) => Number((Math.min(1, x) ** 2.2).toFixed(4))) as Triple;
const round = (x: number, digits = 4) => Number(x.toFixed(digits));

const blobs: Uint8Array[] = [];
let length = 0;
function store(bytes: Uint8Array): { at: number; length: number } {
  const at = length;
  blobs.push(bytes);
  length += bytes.length;
  return { at, length: bytes.length };
}

const textures: PackedTexture[] = [];
const known = new Map<string, number>();
const powerOfTwo = (x: number) => 2 ** Math.round(Math.log2(Math.max(8, x)));

async function packTexture(file: string, side: number): Promise<number> {
  const key = `${file} ${side}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  const natural = (await readTexture(file, side))!;
  const [width, height] = [powerOfTwo(natural.width), powerOfTwo(natural.height)].map((x) =>
    Math.min(x, side),
  ) as [number, number];
  const { data } = (await readTexture(file, side, [width, height]))!;
  let clear = 0;
  for (let i = 3; i < data.length; i += 4) if (data[i]! < 128) clear++;
  const alpha = clear > 0.01 * width * height;
  const steps = [10, 20] as const;
  const packed = encodePicture(data, width, height, alpha, steps);
  textures.push({ width, height, alpha, steps, ...store(packed) });
  known.set(key, textures.length - 1);
  return textures.length - 1;
}

/** Bytes of a column of numbers: each as the difference from the one before, low bytes first, then high ones. */
function column(values: number[], bits: number): Uint8Array {
  const wide = bits > 8;
  const bytes = new Uint8Array(values.length * (wide ? 2 : 1));
  let before = 0;
  for (const [i, value] of values.entries()) {
    const difference = value - before;
    before = value;
    const code = wide ? (difference < 0 ? -2 * difference - 1 : 2 * difference) : difference & 255;
    bytes[i] = code & 255;
    if (wide) bytes[values.length + i] = code >> 8;
  }
  return bytes;
}

/** Vertices in the order of their first use, everything quantised. */
function packShape(shape: Shape) {
  const order: number[] = [];
  const renamed = new Map<number, number>();
  const codes: number[] = [];
  for (const index of shape.indices) {
    let name = renamed.get(index);
    // 0 announces a new vertex; others are told by how long ago they were new.
    codes.push(name === undefined ? 0 : order.length - name);
    if (name === undefined) {
      name = order.length;
      renamed.set(index, name);
      order.push(index);
    }
  }
  const low = [0, 1, 2].map((k) => Math.min(...order.map((v) => shape.positions[v * 3 + k]!)));
  const high = [0, 1, 2].map((k) => Math.max(...order.map((v) => shape.positions[v * 3 + k]!)));
  const textured = shape.groups.some(({ material }) => shape.materials[material]!.map);
  const uvLow = [0, 1].map((k) => Math.min(...order.map((v) => shape.uvs[v * 2 + k]!)));
  const uvHigh = [0, 1].map((k) => Math.max(...order.map((v) => shape.uvs[v * 2 + k]!)));
  const level = (value: number, a: number, b: number, steps: number) =>
    b > a ? Math.round(((value - a) / (b - a)) * steps) : 0;
  const parts = [
    column(codes, 16),
    ...[0, 1, 2].map((k) =>
      column(
        order.map((v) => level(shape.positions[v * 3 + k]!, low[k]!, high[k]!, 2047)),
        16,
      ),
    ),
    ...[0, 1, 2].map((k) =>
      column(
        order.map((v) => Math.round(shape.normals[v * 3 + k]! * 60)),
        8,
      ),
    ),
    column(
      order.map((v) => Math.round(shape.openness[v]! * 63)),
      8,
    ),
    ...(textured
      ? [0, 1].map((k) =>
          column(
            order.map((v) => level(shape.uvs[v * 2 + k]!, uvLow[k]!, uvHigh[k]!, 4095)),
            16,
          ),
        )
      : []),
  ];
  return {
    ...store(Buffer.concat(parts)),
    vertices: order.length,
    indices: codes.length,
    low: low.map((x) => round(x, 5)) as Triple,
    high: high.map((x) => round(x, 5)) as Triple,
    uv: textured
      ? ([...uvLow, ...uvHigh].map((x) => round(x, 4)) as [number, number, number, number])
      : undefined,
  };
}

/** Shapes take long: those whose choice has not changed are kept in $ASSETS/shapes. */
async function cachedShape(name: string, entry: Entry, options: ShapeOptions): Promise<Shape> {
  const file = `${assets}/shapes/${name}`;
  const key = JSON.stringify([entry.file, { ...options, without: options.without?.source }, shapeVersion]);
  if (existsSync(file)) {
    const before = deserialize(readFileSync(file)) as { key: string; shape: Shape };
    if (before.key === key) return before.shape;
  }
  const shape = await makeShape(entry, options);
  mkdirSync(`${assets}/shapes`, { recursive: true });
  writeFileSync(file, serialize({ key, shape }));
  return shape;
}

/** Names of materials that mirror the sky a little. */
const shiny =
  /paint|glass|ceramic|metal|chrome|plastic|firstcolor|glossy|accent|whitebase|cabin|kettle|coque|tap$/i;

const catalogue = readCatalogue();
const index: PackIndex = { meshes: [], textures, panoramas: [] };
const credits: [string, Entry][] = [];

for (const [name, choice] of Object.entries(models)) {
  if (only && !only.includes(name)) continue;
  const entry = catalogue.get(choice.from);
  if (!entry) throw new Error(`There is no model ${choice.from}.`);
  const started = performance.now();
  const { triangles = 1400, quarters, without, crease, scale } = choice;
  const shape = await cachedShape(name, entry, { triangles, quarters, without, crease, scale });
  const used = [...new Set(shape.groups.map(({ material }) => material))];
  const materials: PackedMaterial[] = [];
  for (const number of used) {
    const material = shape.materials[number]!;
    const tint = choice.tint?.test(material.name) ?? false;
    const colour = choice.paint?.[material.name] ?? material.colour;
    // Glass is opaque here: dark, as panes look from outside.
    const glass = material.opacity < 0.75 && !material.map;
    const packed: PackedMaterial = {
      colour: linear(glass ? (colour.map((x) => x * 0.5) as Triple) : colour),
    };
    if (material.map) packed.texture = await packTexture(material.map, choice.texture ?? 128);
    if (tint) packed.tint = true;
    if (choice.gloss ?? shiny.test(material.name)) packed.gloss = true;
    materials.push(packed);
  }
  const { at, length: bytes, ...packed } = packShape(shape);
  const attach = { ...choice.attach };
  if (choice.seat && entry.top !== undefined) attach.top = [0, entry.top / entry.size[1], 0];
  index.meshes.push({
    name,
    at,
    length: bytes,
    ...packed,
    size: shape.size.map((x) => round(x)) as Triple,
    groups: shape.groups.map(({ material, from, count, twoSided }) => ({
      material: used.indexOf(material),
      from,
      count,
      twoSided,
    })),
    materials,
    attach: Object.fromEntries(
      Object.entries(attach).map(([key, share]) => [
        key,
        share.map((x, k) => round(x * shape.size[k]!)) as Triple,
      ]),
    ),
    letters: 0,
  });
  credits.push([name, entry]);
  console.error(
    `${name}: ${shape.indices.length / 3} triangles, ${packed.vertices} vertices, ${materials.length} materials, ${((performance.now() - started) / 1000).toFixed(1)} s`,
  );
}
{
  const { at, length: bytes, ...packed } = packShape(signShape);
  index.meshes.push({ ...signModel, at, length: bytes, ...packed });
}

const meshBytes = length;
for (const [name, choice] of Object.entries(panoramas)) {
  const { pixels, light } = await makePanorama(choice, 512, 256);
  const steps = [10, 24] as const;
  index.panoramas.push({
    name,
    indoor: choice.indoor,
    turns: choice.turns,
    width: 512,
    height: 256,
    alpha: false,
    steps,
    ...store(encodePicture(pixels, 512, 256, false, steps)),
    toward: light.toward.map((x) => round(x)) as Triple,
    sun: light.sun.map((x) => round(x)) as Triple,
    ambient: light.ambient.map((x) => round(x)),
  });
}

const json = new TextEncoder().encode(JSON.stringify(index));
const body = new Uint8Array(4 + json.length + length);
new DataView(body.buffer).setUint32(0, json.length, true);
body.set(json, 4);
body.set(Buffer.concat(blobs), 4 + json.length);
const packed = zlibSync(body, { level: 9 });
const file = new Uint8Array(16 + packed.length);
file.set(new TextEncoder().encode(magic));
const view = new DataView(file.buffer);
view.setUint32(8, body.length, true);
view.setUint32(12, checksum(body), true);
file.set(packed, 16);
mkdirSync(`${root}assets/diorama`, { recursive: true });
const target = only ? `${root}out/world.bin` : `${root}assets/diorama/world.bin`;
writeFileSync(target, file);
const deflated = (bytes: Uint8Array) => zlibSync(bytes, { level: 9 }).length;
const ofTextures = textures.reduce((sum, { length: bytes }) => sum + bytes, 0);
console.error(
  `${index.meshes.length} meshes, ${textures.length} textures, ${index.panoramas.length} panoramas: ${file.length} bytes; ` +
    `deflated: index ${deflated(json)}, models ${deflated(Buffer.concat(blobs).subarray(0, meshBytes))} (raw ${meshBytes}, textures ${ofTextures}), panoramas ${deflated(Buffer.concat(blobs).subarray(meshBytes))}`,
);

if (!only) {
  const licences: Record<string, string> = {
    "BlendSwap-CC-0": "CC0 1.0",
    "BlendSwap-CC-BY": "CC BY 3.0",
    KatorLegaz: "CC BY 3.0 US",
    Reallusion: "CC BY 3.0 US",
    Scopia: "CC BY 3.0",
  };
  const authors: Record<string, string> = {
    KatorLegaz: "Andrew Kator & Jennifer Legaz",
    Reallusion: "Reallusion, <http://www.reallusion.com>",
    Scopia: "Scopia Visual Interfaces Systems, s.l., <http://www.scopia.es> (1)",
  };
  const rows = credits.map(([name, { library, number, creator }]) => {
    return `| ${name} | ${library} ${number} | ${authors[library] ?? creator} | ${licences[library]} |`;
  });
  const scenes = Object.entries(panoramas).map(([name, { source }]) =>
    name === source ? name : `${name} (${source})`,
  );
  const section = [
    "<!-- diorama: written by scripts/pack-world -->",
    "## The diorama: `diorama/world.bin`",
    "",
    "Models of the Debian package `sweethome3d-furniture` 1.8-1, by library and number in its catalogue. Changes were made to",
    "all of them: hidden faces removed, simplified, scaled, reduced textures, some recoloured.",
    "",
    "| mesh | model | author | licence |",
    "|---|---|---|---|",
    ...rows,
    "| sign | this project's own | the diffsight authors | Apache-2.0 |",
    "",
    "Panoramas of the npm package `@pmndrs/assets` 1.7.0, CC0 1.0, tone-mapped and compressed:",
    `${scenes.join(", ")}.`,
    "<!-- /diorama -->",
  ].join("\n");
  const file = `${root}assets/ATTRIBUTION.md`;
  const text = readFileSync(file, "utf8");
  const before = /<!-- diorama:[\s\S]*<!-- \/diorama -->/;
  const licencesAt = text.indexOf("## Licences");
  writeFileSync(
    file,
    before.test(text)
      ? text.replace(before, section)
      : `${text.slice(0, licencesAt)}${section}\n\n${text.slice(licencesAt)}`,
  );
}
