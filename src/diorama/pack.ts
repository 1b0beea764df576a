/**
 * @file The pack of models and panoramas, assets/diorama/world.bin, as scripts/pack-world writes it:
 * "DIORAMA1", length and checksum of the unpacked bytes (u32), those bytes deflated (zlib). Unpacked: length of the
 * index (u32), the index (JSON), then what it points to. All numbers are little-endian.
 */

import { unzlibSync } from "fflate";
import { failure } from "../tensor/index.js";
import type { AttachPoint, Vector } from "./stage.js";
import type { PackedPicture } from "./wavelet.js";

export const magic = "DIORAMA1";

interface Place {
  at: number;
  length: number;
}

export interface PackedMaterial {
  /** Linear reflectance. */
  colour: Vector;
  texture?: number;
  /** Repainted by an item's tint. */
  tint?: boolean;
  /** Mirrors the sky a little. */
  gloss?: boolean;
  /** Shows an item's sign. */
  letters?: boolean;
}

/** Three corners each of `count / 3` triangles, from corner `from` on. */
export interface TriangleGroup {
  material: number;
  from: number;
  count: number;
  twoSided: boolean;
}

export interface PackedMesh extends Place {
  name: string;
  size: Vector;
  vertices: number;
  indices: number;
  /** Bounds between which positions are spread over 0 to 2047. */
  low: Vector;
  high: Vector;
  /** Least u, v and greatest u, v, spread over 0 to 4095; none without textures. */
  uv?: readonly [number, number, number, number] | undefined;
  groups: TriangleGroup[];
  materials: PackedMaterial[];
  attach: Partial<Record<AttachPoint, Vector>>;
  letters: number;
}

export interface PackedTexture extends PackedPicture, Place {}

export interface PackedPanorama extends PackedPicture, Place {
  name: string;
  indoor: boolean;
  turns: number[];
  /** Toward the sun. */
  toward: Vector;
  /** Light of a white surface that faces the sun, exposure included. */
  sun: Vector;
  /** All other light by a surface's normal: 9 spherical harmonics x 3 colours. */
  ambient: number[];
}

export interface PackIndex {
  meshes: PackedMesh[];
  textures: PackedTexture[];
  panoramas: PackedPanorama[];
}

/** FNV-1a, 32 bits. */
export function checksum(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash >>> 0;
}

const broken = (what: string, cause?: unknown) =>
  failure("PACK_BROKEN", `The diorama's pack (world.bin) is broken: ${what}`, cause);

export interface Pack {
  index: PackIndex;
  /** The bytes of something in the index. */
  bytes(place: Place): Uint8Array;
}

/** @throws DiffsightError PACK_BROKEN: no pack, cut off or damaged */
export function readPack(file: Uint8Array): Pack {
  const found = String.fromCharCode(...file.subarray(0, magic.length));
  if (found !== magic) {
    throw broken(`it begins with ${JSON.stringify(found.replace(/[^ -~]/g, "?"))}, not with "${magic}".`);
  }
  if (file.length < 16) throw broken(`it ends after ${file.length} bytes.`);
  const header = new DataView(file.buffer, file.byteOffset, 16);
  const length = header.getUint32(8, true);
  let body: Uint8Array;
  try {
    body = unzlibSync(file.subarray(16));
  } catch (cause) {
    throw broken(`it cannot be inflated (${(cause as Error).message}); it has ${file.length} bytes.`, cause);
  }
  if (body.length !== length) throw broken(`it unpacks to ${body.length} bytes instead of ${length}.`);
  if (checksum(body) !== header.getUint32(12, true)) throw broken("its checksum does not match.");
  const text = body.length < 4 ? 0 : new DataView(body.buffer, body.byteOffset).getUint32(0, true);
  const index = readIndex(body.subarray(4, 4 + text));
  const content = body.subarray(4 + text);
  const bytes = ({ at, length }: Place) => {
    if (at + length > content.length) {
      throw broken(`it has ${content.length} bytes; its index names bytes ${at} to ${at + length}.`);
    }
    return content.subarray(at, at + length);
  };
  return { index, bytes };
}

function readIndex(text: Uint8Array): PackIndex {
  let index: Partial<PackIndex>;
  try {
    index = JSON.parse(new TextDecoder().decode(text));
  } catch (cause) {
    throw broken(`its index is no JSON (${(cause as Error).message}).`, cause);
  }
  const { meshes, textures, panoramas } = index;
  if (!meshes || !textures || !panoramas) throw broken("its index lacks meshes, textures or panoramas.");
  return { meshes, textures, panoramas };
}
