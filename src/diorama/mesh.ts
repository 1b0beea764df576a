/** @file A mesh as the renderer reads it, unpacked. */

import { failure } from "../tensor/index.js";
import type { PackedMesh, TriangleGroup } from "./pack.js";
import type { Vector } from "./stage.js";
import type { Texture } from "./texture.js";

export interface Material {
  colour: Vector;
  texture: Texture | undefined;
  /** Mean brightness of a texture that is repainted. */
  mean: number;
  /** Its texture has clear parts. */
  stencil: boolean;
  tint: boolean;
  /** Mirrors the sky and the sun a little. */
  gloss: boolean;
  letters: boolean;
}

export interface Mesh {
  name: string;
  vertices: number;
  /** [vertices, 3], metres, base at y = 0. */
  positions: Float32Array;
  /** [vertices, 3], of length 1. */
  normals: Float32Array;
  /** [vertices]: share of the surrounding light that arrives, 0 to 1. */
  openness: Float32Array;
  /** [vertices, 2]; v runs upward. */
  uvs: Float32Array;
  indices: Uint16Array;
  groups: readonly TriangleGroup[];
  materials: readonly Material[];
  letters: number;
}

/** Undoes scripts/pack-world's packing of one mesh. */
export function unpackMesh(packed: PackedMesh, bytes: Uint8Array, materials: readonly Material[]): Mesh {
  const { name, vertices, groups, low, high, uv } = packed;
  const wanted = packed.indices * 2 + vertices * (6 + 4 + (uv ? 4 : 0));
  if (bytes.length !== wanted) {
    throw failure(
      "PACK_BROKEN",
      `The diorama's mesh "${name}" has ${bytes.length} bytes instead of ${wanted}.`,
    );
  }
  let at = 0;
  /** Differences of 16 bits: all low bytes, then all high ones. */
  const wide = (count: number): Int32Array => {
    const values = new Int32Array(count);
    let before = 0;
    for (let i = 0; i < count; i++) {
      const code = bytes[at + i]! + 256 * bytes[at + count + i]!;
      before += code & 1 ? -((code + 1) >> 1) : code >> 1;
      values[i] = before;
    }
    at += 2 * count;
    return values;
  };
  /** Differences of 8 bits, wrapped around. */
  const narrow = (): Int32Array => {
    const values = new Int32Array(vertices);
    let before = 0;
    for (let i = 0; i < vertices; i++) {
      before = ((before + bytes[at + i]!) << 24) >> 24;
      values[i] = before;
    }
    at += vertices;
    return values;
  };

  const codes = wide(packed.indices);
  const indices = new Uint16Array(packed.indices);
  let known = 0;
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i]!;
    indices[i] = code === 0 ? known++ : known - code;
    if (indices[i]! >= vertices) {
      throw failure("PACK_BROKEN", `The diorama's mesh "${name}" names vertex ${indices[i]} of ${vertices}.`);
    }
  }
  const positions = new Float32Array(vertices * 3);
  for (let k = 0; k < 3; k++) {
    const steps = wide(vertices);
    const step = (high[k]! - low[k]!) / 2047;
    for (let i = 0; i < vertices; i++) positions[i * 3 + k] = low[k]! + steps[i]! * step;
  }
  const normals = new Float32Array(vertices * 3);
  for (let k = 0; k < 3; k++) {
    const parts = narrow();
    for (let i = 0; i < vertices; i++) normals[i * 3 + k] = parts[i]!;
  }
  for (let i = 0; i < normals.length; i += 3) {
    const [x, y, z] = [normals[i]!, normals[i + 1]!, normals[i + 2]!];
    const length = Math.sqrt(x * x + y * y + z * z) || 1;
    normals[i] = x / length;
    normals[i + 1] = y / length;
    normals[i + 2] = z / length;
  }
  const openness = Float32Array.from(narrow(), (value) => value / 63);
  const uvs = new Float32Array(vertices * 2);
  if (uv) {
    for (let k = 0; k < 2; k++) {
      const steps = wide(vertices);
      const step = (uv[k + 2]! - uv[k]!) / 4095;
      for (let i = 0; i < vertices; i++) uvs[i * 2 + k] = uv[k]! + steps[i]! * step;
    }
  }
  return {
    name,
    vertices,
    positions,
    normals,
    openness,
    uvs,
    indices,
    groups,
    materials,
    letters: packed.letters,
  };
}
