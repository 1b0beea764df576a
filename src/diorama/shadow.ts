/** @file Where the sun does not reach, and where things keep the sky's light from the floor. */

import { stride } from "./vertices.js";

/** What the sun sees first, fitted around the things of a stage. */
export class ShadowMap {
  side = 0;
  /** Metres a texel, and light coordinates of the map's corner. */
  texel = 1;
  #left = 0;
  #bottom = 0;
  /** Farthest toward the sun, in each texel. */
  #depths = new Float32Array(0);

  /** Fits the map around `count` vertices. */
  fit(values: Float32Array, count: number, side: number): void {
    this.side = side;
    if (this.#depths.length < side * side) this.#depths = new Float32Array(side * side);
    this.#depths.fill(-1e9, 0, side * side);
    let [left, right, bottom, top] = [1e9, -1e9, 1e9, -1e9];
    for (let i = 0; i < count; i++) {
      const x = values[i * stride + 9]!;
      const y = values[i * stride + 10]!;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < bottom) bottom = y;
      if (y > top) top = y;
    }
    const width = right - left;
    const height = top - bottom;
    this.texel = (width > height ? width : height) / (side - 6) + 1e-9;
    this.#left = left - 3 * this.texel;
    this.#bottom = bottom - 3 * this.texel;
  }

  draw(values: Float32Array, a: number, b: number, c: number): void {
    const { side } = this;
    const depths = this.#depths;
    const scale = 1 / this.texel;
    const ax = (values[a + 9]! - this.#left) * scale;
    const ay = (values[a + 10]! - this.#bottom) * scale;
    const bx = (values[b + 9]! - this.#left) * scale - ax;
    const by = (values[b + 10]! - this.#bottom) * scale - ay;
    const cx = (values[c + 9]! - this.#left) * scale - ax;
    const cy = (values[c + 10]! - this.#bottom) * scale - ay;
    const y0 = Math.ceil(ay + (by < cy ? (by < 0 ? by : 0) : cy < 0 ? cy : 0) - 0.5);
    const y1 = Math.floor(ay + (by > cy ? (by > 0 ? by : 0) : cy > 0 ? cy : 0) - 0.5);
    const x0 = Math.ceil(ax + (bx < cx ? (bx < 0 ? bx : 0) : cx < 0 ? cx : 0) - 0.5);
    const x1 = Math.floor(ax + (bx > cx ? (bx > 0 ? bx : 0) : cx > 0 ? cx : 0) - 0.5);
    if (x0 > x1 || y0 > y1) return;
    const area = bx * cy - by * cx;
    if (area === 0) return;
    const secondX = cy / area;
    const secondY = -cx / area;
    const thirdX = -by / area;
    const thirdY = bx / area;
    const depthA = values[a + 11]!;
    const depthB = values[b + 11]! - depthA;
    const depthC = values[c + 11]! - depthA;
    for (let y = y0; y <= y1; y++) {
      const dx = x0 + 0.5 - ax;
      const dy = y + 0.5 - ay;
      let s = secondX * dx + secondY * dy;
      let t = thirdX * dx + thirdY * dy;
      let inside = false;
      for (let at = y * side + x0; at <= y * side + x1; at++, s += secondX, t += thirdX) {
        if (s < -1e-6 || t < -1e-6 || s + t > 1.000001) {
          if (inside) break;
          continue;
        }
        inside = true;
        const depth = depthA + s * depthB + t * depthC;
        if (depth > depths[at]!) depths[at] = depth;
      }
    }
  }

  /** Share of the sun that reaches a point in light coordinates: 3 x 3 texels, weighed by where the point lies. */
  lit(x: number, y: number, toward: number): number {
    const { side } = this;
    const depths = this.#depths;
    const fx = (x - this.#left) / this.texel - 1.5;
    const fy = (y - this.#bottom) / this.texel - 1.5;
    if (!(fx >= 0 && fy >= 0 && fx < side - 3 && fy < side - 3)) return 1;
    const x0 = Math.floor(fx);
    const y0 = Math.floor(fy);
    const gx = fx - x0;
    const gy = fy - y0;
    let sum = 0;
    let at = y0 * side + x0;
    for (let j = 0; j < 4; j++, at += side) {
      let row = 0;
      if (depths[at]! <= toward) row += 1 - gx;
      if (depths[at + 1]! <= toward) row += 1;
      if (depths[at + 2]! <= toward) row += 1;
      if (depths[at + 3]! <= toward) row += gx;
      sum += j === 0 ? row * (1 - gy) : j === 3 ? row * gy : row;
    }
    return sum / 9;
  }
}

const cells = 48;

/** A map of the floor: how much of the sky's light things standing near keep away. */
export class ContactMap {
  #cell = 1;
  #left = 0;
  #far = 0;
  #shade = new Float32Array(cells * cells);
  #spare = new Float32Array(cells * cells);

  /** Fits the map around a rectangle of floor. */
  fit(left: number, right: number, far: number, near: number): void {
    const reach = right - left > near - far ? right - left : near - far;
    this.#cell = reach / (cells - 16) + 1e-9;
    this.#left = (left + right) / 2 - (this.#cell * cells) / 2;
    this.#far = (far + near) / 2 - (this.#cell * cells) / 2;
    this.#shade.fill(0);
  }

  /**
   * Takes a triangle's shade.
   * @param a, b, c where its corners' positions stand in `values`
   * @param height 0 on the floor, 1 where nothing shades it any more
   */
  draw(values: Float32Array, a: number, b: number, c: number, height: number): void {
    const shade = 1 - height;
    const ax = values[a]!;
    const az = values[a + 2]!;
    const bx = values[b]!;
    const bz = values[b + 2]!;
    const cx = values[c]!;
    const cz = values[c + 2]!;
    const scale = 1 / this.#cell;
    const left = (ax < bx ? (ax < cx ? ax : cx) : bx < cx ? bx : cx) - this.#left;
    const right = (ax > bx ? (ax > cx ? ax : cx) : bx > cx ? bx : cx) - this.#left;
    const far = (az < bz ? (az < cz ? az : cz) : bz < cz ? bz : cz) - this.#far;
    const near = (az > bz ? (az > cz ? az : cz) : bz > cz ? bz : cz) - this.#far;
    const x0 = Math.floor(left * scale);
    const x1 = Math.floor(right * scale);
    const z0 = Math.floor(far * scale);
    const z1 = Math.floor(near * scale);
    for (let z = z0; z <= z1; z++) {
      for (let x = x0; x <= x1; x++) {
        if (x1 - x0 > 2 && z1 - z0 > 2) {
          const px = this.#left + (x + 0.5) * this.#cell;
          const pz = this.#far + (z + 0.5) * this.#cell;
          const e0 = (bx - ax) * (pz - az) - (bz - az) * (px - ax);
          const e1 = (cx - bx) * (pz - bz) - (cz - bz) * (px - bx);
          const e2 = (ax - cx) * (pz - cz) - (az - cz) * (px - cx);
          if (!((e0 >= 0 && e1 >= 0 && e2 >= 0) || (e0 <= 0 && e1 <= 0 && e2 <= 0))) continue;
        }
        const at = z * cells + x;
        if (shade > this.#shade[at]!) this.#shade[at] = shade;
      }
    }
  }

  /** Spreads the shade as an overcast sky does. */
  soften(): void {
    for (let pass = 0; pass < 3; pass++) {
      this.#blur(this.#shade, this.#spare, 1, cells);
      this.#blur(this.#spare, this.#shade, cells, 1);
    }
  }

  #blur(from: Float32Array, to: Float32Array, step: number, line: number): void {
    for (let i = 0; i < cells; i++) {
      for (let j = 0; j < cells; j++) {
        let sum = 0;
        for (let d = -2; d <= 2; d++) {
          const k = j + d;
          if (k >= 0 && k < cells) sum += from[i * line + k * step]!;
        }
        to[i * line + j * step] = sum / 5;
      }
    }
  }

  /** Share of the sky's light kept from a point of the floor. */
  at(x: number, z: number): number {
    const fx = (x - this.#left) / this.#cell - 0.5;
    const fz = (z - this.#far) / this.#cell - 0.5;
    if (!(fx >= 0 && fz >= 0 && fx < cells - 1 && fz < cells - 1)) return 0;
    const x0 = Math.floor(fx);
    const z0 = Math.floor(fz);
    const gx = fx - x0;
    const gz = fz - z0;
    const at = z0 * cells + x0;
    const shade = this.#shade;
    return (
      (shade[at]! * (1 - gx) + shade[at + 1]! * gx) * (1 - gz) +
      (shade[at + cells]! * (1 - gx) + shade[at + cells + 1]! * gx) * gz
    );
  }
}
