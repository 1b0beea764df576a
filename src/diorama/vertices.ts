/** @file Vertices of an item: placed on the stage, lit, and projected to samples and to the sun's picture. */

import type { Mesh } from "./mesh.js";
import { ambientLight, type Panorama } from "./panorama.js";
import type { Item } from "./stage.js";
import { turned } from "./tables.js";
import type { View } from "./view.js";

/**
 * Numbers a vertex: 0, 1 sample coordinates; 2 one over the depth, -1 behind the eye; 3, 4 texture coordinates;
 * 5 to 7 light from all around; 8 cosine between the normal and the sun; 9 to 11 across, up and toward the sun, metres;
 * 12 to 14 position; 15 share of the sky and 16 of the sun that gloss mirrors to the eye.
 */
export const stride = 17;

/** What the things of a stage cover of the floor, and how high they reach. */
export interface Bounds {
  left: number;
  right: number;
  far: number;
  near: number;
  top: number;
}

const light = new Float64Array(3);

/**
 * Writes an item's vertices and widens the bounds.
 * @param first number of its first vertex in `values`
 * @param side samples a side of the picture
 */
export function placeItem(
  values: Float32Array,
  first: number,
  item: Item,
  mesh: Mesh,
  view: View,
  panorama: Panorama,
  side: number,
  bounds: Bounds,
): void {
  const [c, s] = turned(item.yaw);
  const [rc, rs] = turned(item.roll ?? 0);
  const k = item.scale;
  const { positions, normals, openness, uvs, vertices } = mesh;
  const { eye, forward, right, up, zoom, sun, sunRight, sunUp } = view;
  const [turnCosine, turnSine] = view.turn;
  const shiny = mesh.materials.some(({ gloss }) => gloss);
  let lowest = 1e9;
  for (let v = 0; v < vertices; v++) {
    const y = positions[v * 3 + 1]! * rc - positions[v * 3]! * rs;
    if (y < lowest) lowest = y;
  }
  const [ox, oy, oz] = [item.position[0], item.position[1] - lowest * k, item.position[2]];
  for (let v = 0, to = first * stride; v < vertices; v++, to += stride) {
    const mx = positions[v * 3]! * rc + positions[v * 3 + 1]! * rs;
    const my = positions[v * 3 + 1]! * rc - positions[v * 3]! * rs;
    const mz = positions[v * 3 + 2]!;
    const x = (mx * c + mz * s) * k + ox;
    const y = my * k + oy;
    const z = (mz * c - mx * s) * k + oz;
    const ax = normals[v * 3]! * rc + normals[v * 3 + 1]! * rs;
    const ny = normals[v * 3 + 1]! * rc - normals[v * 3]! * rs;
    const az = normals[v * 3 + 2]!;
    const nx = ax * c + az * s;
    const nz = az * c - ax * s;

    const dx = x - eye[0];
    const dy = y - eye[1];
    const dz = z - eye[2];
    const depth = dx * forward[0] + dy * forward[1] + dz * forward[2];
    // What lies behind the eye or touches it is marked, and its triangles left out.
    const near = depth > 0.05 ? 1 / depth : -1;
    values[to] = ((dx * right[0] + dz * right[2]) * zoom * near * 0.5 + 0.5) * side;
    values[to + 1] = (0.5 - (dx * up[0] + dy * up[1] + dz * up[2]) * zoom * near * 0.5) * side;
    values[to + 2] = near;
    values[to + 3] = uvs[v * 2]!;
    values[to + 4] = uvs[v * 2 + 1]!;

    ambientLight(
      panorama.ambient,
      nx * turnCosine - nz * turnSine,
      ny,
      nz * turnCosine + nx * turnSine,
      light,
    );
    const open = openness[v]!;
    values[to + 5] = light[0]! * open;
    values[to + 6] = light[1]! * open;
    values[to + 7] = light[2]! * open;
    values[to + 8] = nx * sun[0] + ny * sun[1] + nz * sun[2];
    values[to + 9] = x * sunRight[0] + z * sunRight[2];
    values[to + 10] = x * sunUp[0] + y * sunUp[1] + z * sunUp[2];
    values[to + 11] = x * sun[0] + y * sun[1] + z * sun[2];
    values[to + 12] = x;
    values[to + 13] = y;
    values[to + 14] = z;
    if (shiny) {
      // Schlick's rule for how much is mirrored, Blinn's for the sun's own reflection.
      const far = 1 / Math.sqrt(dx * dx + dy * dy + dz * dz);
      const across = -(nx * dx + ny * dy + nz * dz) * far;
      const graze = 1 - (across < 0 ? -across : across);
      const upward = 2 * across * ny + dy * far;
      values[to + 15] = (0.025 + 0.3 * graze * graze * graze * graze) * (0.5 + 0.5 * upward);
      const hx = sun[0] - dx * far;
      const hy = sun[1] - dy * far;
      const hz = sun[2] - dz * far;
      let shine = (nx * hx + ny * hy + nz * hz) / Math.sqrt(hx * hx + hy * hy + hz * hz);
      if (shine > 0.5) for (let n = 0; n < 5; n++) shine *= shine;
      else shine = 0;
      values[to + 16] = 0.8 * shine;
    }
    if (x < bounds.left) bounds.left = x;
    if (x > bounds.right) bounds.right = x;
    if (z < bounds.far) bounds.far = z;
    if (z > bounds.near) bounds.near = z;
    if (y > bounds.top) bounds.top = y;
  }
}
