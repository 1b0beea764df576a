/**
 * @file Stage to pixels: vertices are placed and lit, the sun's and the camera's views are drawn, samples are shaded
 * with their textures and shadows, and four samples' light is averaged into a pixel.
 */

import { type Coat, Wardrobe } from "./coats.js";
import type { Mesh } from "./mesh.js";
import { ambientLight, lookUp, type Panorama } from "./panorama.js";
import { Samples } from "./raster.js";
import { ContactMap, ShadowMap } from "./shadow.js";
import { fullTurn, type Rendering, type Sight, type Stage, type Vector } from "./stage.js";
import { encodeSteps, encodeTable } from "./tables.js";
import type { Level } from "./texture.js";
import { type Bounds, placeItem, stride } from "./vertices.js";
import { type View, viewOf } from "./view.js";

/** Narkowicz's fit of the ACES curve: scene light to display light. */
function tone(x: number): number {
  const y = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14);
  return y < 1 ? y : 1;
}

/** Turns stages into pictures; its buffers are used again and again, so one picture at a time. */
export class Renderer {
  readonly #samples = new Samples();
  readonly #shadow = new ShadowMap();
  readonly #contact = new ContactMap();
  #values = new Float32Array(0);
  /** Of each triangle that may be seen: corners, coat, texture level, whether its back is seen, item. */
  #corners = new Int32Array(0);
  #coat = new Uint16Array(0);
  #level = new Uint8Array(0);
  #back = new Uint8Array(0);
  #item = new Uint8Array(0);
  readonly #light = new Float64Array(3);
  readonly #wardrobe = new Wardrobe();

  render(stage: Stage, meshes: readonly Mesh[], panorama: Panorama, size: number): Rendering {
    const { items } = stage;
    const side = size * 2;
    const view = viewOf(stage, panorama);
    this.#reserve(meshes);
    const values = this.#values;

    let count = 0;
    const starts: number[] = [];
    const bounds: Bounds = { left: 1e9, right: -1e9, far: 1e9, near: -1e9, top: 0 };
    for (let i = 0; i < items.length; i++) {
      const item = items[i]!;
      const mesh = meshes[i]!;
      starts.push(count);
      placeItem(values, count, item, mesh, view, panorama, side, bounds);
      count += mesh.vertices;
    }

    // Triangles: the sun's view and the camera's.
    const samples = this.#samples;
    const shadow = this.#shadow;
    const contact = this.#contact;
    samples.clear(side);
    shadow.fit(values, count, size < 96 ? 192 : size < 192 ? 320 : 512);
    contact.fit(bounds.left, bounds.right, bounds.far, bounds.near);
    const coats: Coat[] = [];
    const whole: number[] = [];
    let triangles = 0;
    for (let i = 0; i < items.length; i++) {
      const mesh = meshes[i]!;
      const { indices, groups } = mesh;
      const first = coats.length;
      coats.push(...this.#wardrobe.dress(items[i]!, mesh));
      const base = starts[i]! * stride;
      let covered = 0;
      for (const group of groups) {
        const number = first + group.material;
        const { texture, stencil } = coats[number]!;
        for (let t = group.from; t < group.from + group.count; t += 3) {
          const a = base + indices[t]! * stride;
          const b = base + indices[t + 1]! * stride;
          const c = base + indices[t + 2]! * stride;
          shadow.draw(values, a, b, c);
          if (values[a + 2]! < 0 || values[b + 2]! < 0 || values[c + 2]! < 0) continue;
          const bx = values[b]! - values[a]!;
          const by = values[b + 1]! - values[a + 1]!;
          const cx = values[c]! - values[a]!;
          const cy = values[c + 1]! - values[a + 1]!;
          // Rows run downward: what faces the camera has a negative area.
          const area = bx * cy - by * cx;
          const back = area > 0;
          if (area === 0 || (back && !group.twoSided)) continue;
          let level = 0;
          if (texture) {
            const u1 = values[b + 3]! - values[a + 3]!;
            const v1 = values[b + 4]! - values[a + 4]!;
            const u2 = values[c + 3]! - values[a + 3]!;
            const v2 = values[c + 4]! - values[a + 4]!;
            const patch = u1 * v2 - u2 * v1;
            const { width, height } = texture[0]!;
            let texels = (width * height * (patch < 0 ? -patch : patch)) / (back ? area : -area);
            for (; texels > 1.5 && level < texture.length - 1; texels /= 4) level++;
          }
          const index = triangles++;
          this.#corners[index * 3] = a;
          this.#corners[index * 3 + 1] = b;
          this.#corners[index * 3 + 2] = c;
          this.#coat[index] = number;
          this.#level[index] = level;
          this.#back[index] = back ? 1 : 0;
          this.#item[index] = i;
          covered += samples.draw(values, a, b, c, index, i, stencil ? texture![level] : undefined);
        }
      }
      whole.push(covered);
    }
    this.#touch(meshes, starts, 0.3 * bounds.top);

    return this.#resolve(stage, view, panorama, size, coats, whole);
  }

  /** Low triangles shade the floor under them. */
  #touch(meshes: readonly Mesh[], starts: readonly number[], reach: number): void {
    const values = this.#values;
    for (let i = 0; i < meshes.length; i++) {
      const { indices } = meshes[i]!;
      const base = starts[i]! * stride;
      for (let t = 0; t < indices.length; t += 3) {
        const a = base + indices[t]! * stride + 12;
        const b = base + indices[t + 1]! * stride + 12;
        const c = base + indices[t + 2]! * stride + 12;
        const height = (values[a + 1]! + values[b + 1]! + values[c + 1]!) / 3;
        if (height < reach) this.#contact.draw(values, a, b, c, (height < 0 ? 0 : height) / reach);
      }
    }
    this.#contact.soften();
  }

  #reserve(meshes: readonly Mesh[]): void {
    let vertices = 0;
    let triangles = 0;
    for (const mesh of meshes) {
      vertices += mesh.vertices;
      triangles += mesh.indices.length / 3;
    }
    if (this.#values.length < vertices * stride) this.#values = new Float32Array(vertices * stride * 2);
    if (this.#coat.length < triangles) {
      this.#corners = new Int32Array(triangles * 6);
      this.#coat = new Uint16Array(triangles * 2);
      this.#level = new Uint8Array(triangles * 2);
      this.#back = new Uint8Array(triangles * 2);
      this.#item = new Uint8Array(triangles * 2);
    }
  }

  #resolve(
    { items, turn }: Stage,
    { eye, forward, right, up, zoom, sunRight, sunUp, sun }: View,
    panorama: Panorama,
    size: number,
    coats: readonly Coat[],
    whole: readonly number[],
  ): Rendering {
    const samples = this.#samples;
    const { side, near, triangle } = samples;
    const light = this.#light;
    const rgb = new Uint8Array(size * size * 3);
    const mask = new Uint8Array(size * size);
    const boxes = items.map(() => [side, side, 0, 0]);
    const seen = new Int32Array(items.length);

    const turns = turn / fullTurn;
    // One pixel's angle against one texel's: the level that neither flickers nor blurs.
    let texels = ((2 / zoom / size) * panorama.levels[0]!.width) / (2 * Math.PI);
    let level = 0;
    for (; texels > 1.6 && level < panorama.levels.length - 1; texels /= 2) level++;
    const backdrop: Level = panorama.levels[level]!;
    // What the floor receives without any thing on it.
    ambientLight(panorama.ambient, 0, 1, 0, light);
    const sky = [light[0]!, light[1]!, light[2]!];
    const direct = panorama.sun.map((value) => value * sun[1]);

    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        let r = 0;
        let g = 0;
        let b = 0;
        let free = 0;
        let best = 0;
        let bestCount = 0;
        const corner = 2 * y * side + 2 * x;
        for (let j = 0; j < 4; j++) {
          const at = corner + (j >> 1) * side + (j & 1);
          if (near[at] === 0) {
            free++;
            continue;
          }
          this.#shade(at, coats, panorama.sun, sky);
          r += light[0]!;
          g += light[1]!;
          b += light[2]!;
          const item = this.#item[triangle[at]!]!;
          seen[item]!++;
          const box = boxes[item]!;
          const sx = 2 * x + (j & 1);
          const sy = 2 * y + (j >> 1);
          if (sx < box[0]!) box[0] = sx;
          if (sy < box[1]!) box[1] = sy;
          if (sx >= box[2]!) box[2] = sx + 1;
          if (sy >= box[3]!) box[3] = sy + 1;
          let same = 1;
          for (let k = 0; k < 4; k++) {
            const other = corner + (k >> 1) * side + (k & 1);
            if (k !== j && near[other] !== 0 && this.#item[triangle[other]!] === item) same++;
          }
          if (same > bestCount || (same === bestCount && item + 1 < best)) {
            bestCount = same;
            best = item + 1;
          }
        }
        if (free > 0) {
          const dx = (((x + 0.5) / size) * 2 - 1) / zoom;
          const dy = (1 - ((y + 0.5) / size) * 2) / zoom;
          const vx = forward[0] + right[0] * dx + up[0] * dy;
          const vy = forward[1] + right[1] * dx + up[1] * dy;
          const vz = forward[2] + right[2] * dx + up[2] * dy;
          lookUp(backdrop, vx, vy, vz, turns, light);
          if (vy < -1e-4 && eye[1] > 0 && items.length > 0) {
            const reach = -eye[1] / vy;
            const fx = eye[0] + vx * reach;
            const fz = eye[2] + vz * reach;
            const lit = this.#shadow.lit(
              fx * sunRight[0] + fz * sunRight[2],
              fx * sunUp[0] + fz * sunUp[2],
              fx * sun[0] + fz * sun[2] + this.#shadow.texel,
            );
            const open = 1 - 0.85 * this.#contact.at(fx, fz);
            if (lit < 1 || open < 1) {
              for (let k = 0; k < 3; k++) {
                light[k]! *= (sky[k]! * open + direct[k]! * lit) / (sky[k]! + direct[k]!);
              }
            }
          }
          r += light[0]! * free;
          g += light[1]! * free;
          b += light[2]! * free;
        }
        const to = (y * size + x) * 3;
        rgb[to] = encodeTable[(r * (encodeSteps / 4) + 0.5) | 0]!;
        rgb[to + 1] = encodeTable[(g * (encodeSteps / 4) + 0.5) | 0]!;
        rgb[to + 2] = encodeTable[(b * (encodeSteps / 4) + 0.5) | 0]!;
        if (bestCount >= free) mask[y * size + x] = best;
      }
    }
    const visible = boxes.map(([left, top, far, low], i): Sight => {
      const box =
        seen[i]! > 0 ? ([left! / 2, top! / 2, far! / 2, low! / 2] as const) : ([0, 0, 0, 0] as const);
      return { box, pixels: seen[i]! / 4, unoccluded: whole[i]! / 4 };
    });
    return { size, rgb, mask, visible };
  }

  /** Writes the display light of one sample. */
  #shade(at: number, coats: readonly Coat[], sun: Vector, sky: readonly number[]): void {
    const values = this.#values;
    const samples = this.#samples;
    const index = samples.triangle[at]!;
    const a = this.#corners[index * 3]!;
    const b = this.#corners[index * 3 + 1]!;
    const c = this.#corners[index * 3 + 2]!;
    const depth = 1 / samples.near[at]!;
    const p = samples.second[at]! * values[b + 2]! * depth;
    const q = samples.third[at]! * values[c + 2]! * depth;
    const o = 1 - p - q;
    const coat = coats[this.#coat[index]!]!;
    let { r, g, b: blue } = coat;
    const { texture } = coat;
    if (texture) {
      const { width, height, texels } = texture[this.#level[index]!]!;
      const u = (values[a + 3]! * o + values[b + 3]! * p + values[c + 3]! * q) * width - 0.5;
      const v = (1 - (values[a + 4]! * o + values[b + 4]! * p + values[c + 4]! * q)) * height - 0.5;
      const x = Math.floor(u);
      const y = Math.floor(v);
      const gx = u - x;
      const gy = v - y;
      const x0 = x & (width - 1);
      const x1 = (x + 1) & (width - 1);
      const y0 = (y & (height - 1)) * width;
      const y1 = ((y + 1) & (height - 1)) * width;
      const ta = (y0 + x0) * 4;
      const tb = (y0 + x1) * 4;
      const tc = (y1 + x0) * 4;
      const td = (y1 + x1) * 4;
      const wd = gx * gy;
      const wb = gx - wd;
      const wc = gy - wd;
      const wa = 1 - gx - wc;
      const tr = (texels[ta]! * wa + texels[tb]! * wb + texels[tc]! * wc + texels[td]! * wd) / 65535;
      const tg =
        (texels[ta + 1]! * wa + texels[tb + 1]! * wb + texels[tc + 1]! * wc + texels[td + 1]! * wd) / 65535;
      const tl =
        (texels[ta + 2]! * wa + texels[tb + 2]! * wb + texels[tc + 2]! * wc + texels[td + 2]! * wd) / 65535;
      if (coat.repaint > 0) {
        let bright = (0.2126 * tr + 0.7152 * tg + 0.0722 * tl) * coat.repaint;
        if (bright > 1.6) bright = 1.6;
        r *= bright;
        g *= bright;
        blue *= bright;
      } else {
        r *= tr;
        g *= tg;
        blue *= tl;
      }
    }
    let facing = values[a + 8]! * o + values[b + 8]! * p + values[c + 8]! * q;
    if (this.#back[index]) facing = -facing;
    let sparkle = 0;
    if (facing > 0) {
      const toward = values[a + 11]! * o + values[b + 11]! * p + values[c + 11]! * q;
      const lit = this.#shadow.lit(
        values[a + 9]! * o + values[b + 9]! * p + values[c + 9]! * q,
        values[a + 10]! * o + values[b + 10]! * p + values[c + 10]! * q,
        toward + 3 * this.#shadow.texel,
      );
      facing *= lit;
      if (coat.gloss) sparkle = lit * (values[a + 16]! * o + values[b + 16]! * p + values[c + 16]! * q);
    } else facing = 0;
    let mirror = 0;
    if (coat.gloss) {
      mirror = values[a + 15]! * o + values[b + 15]! * p + values[c + 15]! * q;
      if (mirror < 0) mirror = 0;
    }
    const light = this.#light;
    light[0] = tone(
      r * (values[a + 5]! * o + values[b + 5]! * p + values[c + 5]! * q + sun[0] * facing) +
        sky[0]! * mirror +
        sun[0] * sparkle,
    );
    light[1] = tone(
      g * (values[a + 6]! * o + values[b + 6]! * p + values[c + 6]! * q + sun[1] * facing) +
        sky[1]! * mirror +
        sun[1] * sparkle,
    );
    light[2] = tone(
      blue * (values[a + 7]! * o + values[b + 7]! * p + values[c + 7]! * q + sun[2] * facing) +
        sky[2]! * mirror +
        sun[2] * sparkle,
    );
  }
}
