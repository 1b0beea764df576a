/** @file The sign, of this world's own making: a board on two posts, whose front takes letters. */

import type { Shape } from "./shape.js";
import type { Triple } from "./sources.js";

const positions: number[] = [];
const normals: number[] = [];
const uvs: number[] = [];
const indices: number[] = [];
const groups: Shape["groups"] = [];

/** A box; `front` makes only its front face, which takes the letters, or everything but that. */
function box(low: Triple, high: Triple, material: number, faces: readonly number[]): void {
  const from = indices.length;
  for (const face of faces) {
    const axis = face >> 1;
    const side = face & 1;
    const normal = [0, 0, 0];
    normal[axis] = side ? 1 : -1;
    const [across, up] = axis === 0 ? [2, 1] : axis === 1 ? [0, 2] : [0, 1];
    const start = positions.length / 3;
    for (const [a, b] of [
      [0, 0],
      [1, 0],
      [1, 1],
      [0, 1],
    ] as const) {
      const p: Triple = [0, 0, 0];
      p[axis] = side ? high[axis]! : low[axis]!;
      p[across!] = a ? high[across!]! : low[across!]!;
      p[up!] = b ? high[up!]! : low[up!]!;
      positions.push(...p);
      normals.push(...normal);
      uvs.push(a, b);
    }
    const outward = axis === 2 ? side === 1 : side === 0;
    const corners = outward ? [0, 1, 2, 0, 2, 3] : [0, 2, 1, 0, 3, 2];
    for (const corner of corners) indices.push(start + corner);
  }
  groups.push({ material, from, count: indices.length - from, twoSided: false });
}

const all = [0, 1, 2, 3, 4, 5];
box([-0.6, 0.28, -0.02], [0.6, 0.84, 0.02], 0, [5]);
box([-0.6, 0.28, -0.02], [0.6, 0.84, 0.02], 1, [0, 1, 2, 3, 4]);
box([-0.47, 0, -0.05], [-0.41, 0.8, -0.02], 2, all);
box([0.41, 0, -0.05], [0.47, 0.8, -0.02], 2, all);

const size: Triple = [1.2, 0.84, 0.07];
const plain = (name: string) => ({ name, colour: [1, 1, 1] as Triple, opacity: 1, map: undefined });
export const signShape: Shape = {
  positions: new Float32Array(positions),
  normals: new Float32Array(normals),
  uvs: new Float32Array(uvs),
  openness: new Float32Array(positions.length / 3).fill(0.9),
  indices: new Uint32Array(indices),
  groups,
  // Only the presence of a picture matters to the packer: the letters are drawn when rendering.
  materials: [{ ...plain("board"), map: "letters" }, plain("back"), plain("posts")],
  size,
};

export const signModel = {
  name: "sign",
  size,
  groups,
  materials: [
    { colour: [0.85, 0.85, 0.85] as Triple, tint: true, letters: true },
    { colour: [0.55, 0.55, 0.55] as Triple },
    { colour: [0.12, 0.12, 0.13] as Triple },
  ],
  attach: {},
  letters: 5,
};
