/** @file Triangles to samples: a depth buffer that remembers which triangle each sample shows, and where in it. */

import type { Level } from "./texture.js";

/** What the camera sees, four samples a pixel. */
export class Samples {
  /** Samples a side. */
  side = 0;
  /** 1 / depth of the nearest triangle; 0 where there is none. */
  near = new Float32Array(0);
  /** That triangle, and the weights of its second and third corner on the screen. */
  triangle = new Int32Array(0);
  second = new Float32Array(0);
  third = new Float32Array(0);
  /** The last item that covers the sample, hidden or not, as item + 1. */
  #covered = new Uint8Array(0);

  clear(side: number): void {
    this.side = side;
    if (this.near.length < side * side) {
      this.near = new Float32Array(side * side);
      this.triangle = new Int32Array(side * side);
      this.second = new Float32Array(side * side);
      this.third = new Float32Array(side * side);
      this.#covered = new Uint8Array(side * side);
    }
    this.near.fill(0, 0, side * side);
    this.#covered.fill(0, 0, side * side);
  }

  /**
   * Draws one triangle and gives the number of samples that its item covers for the first time.
   * @param values the vertices' numbers; a, b, c where its corners' begin
   * @param stencil texture whose clear parts leave holes
   */
  draw(
    values: Float32Array,
    a: number,
    b: number,
    c: number,
    triangle: number,
    item: number,
    stencil: Level | undefined,
  ): number {
    const { side, near, second, third } = this;
    const covered = this.#covered;
    const ax = values[a]!;
    const ay = values[a + 1]!;
    const bx = values[b]! - ax;
    const by = values[b + 1]! - ay;
    const cx = values[c]! - ax;
    const cy = values[c + 1]! - ay;
    const lowest = by < cy ? (by < 0 ? by : 0) : cy < 0 ? cy : 0;
    const highest = by > cy ? (by > 0 ? by : 0) : cy > 0 ? cy : 0;
    let y0 = Math.ceil(ay + lowest - 0.5);
    let y1 = Math.floor(ay + highest - 0.5);
    if (y0 < 0) y0 = 0;
    if (y1 >= side) y1 = side - 1;
    if (y0 > y1) return 0;
    const leftmost = ax + (bx < cx ? (bx < 0 ? bx : 0) : cx < 0 ? cx : 0);
    const rightmost = ax + (bx > cx ? (bx > 0 ? bx : 0) : cx > 0 ? cx : 0);
    let x0 = Math.ceil(leftmost - 0.5);
    let x1 = Math.floor(rightmost - 0.5);
    if (x0 < 0) x0 = 0;
    if (x1 >= side) x1 = side - 1;
    if (x0 > x1) return 0;

    const scale = 1 / (bx * cy - by * cx);
    const secondX = cy * scale;
    const secondY = -cx * scale;
    const thirdX = -by * scale;
    const thirdY = bx * scale;
    const nearA = values[a + 2]!;
    const nearB = values[b + 2]! - nearA;
    const nearC = values[c + 2]! - nearA;
    // Edges overlap by a hair, so that neighbours leave no pinholes.
    const slack = -1e-6;
    let fresh = 0;
    for (let y = y0; y <= y1; y++) {
      const dy = y + 0.5 - ay;
      const row = y * side;
      let from = x0;
      let to = x1;
      const dx = x0 + 0.5 - ax;
      let s = secondX * dx + secondY * dy;
      let t = thirdX * dx + thirdY * dy;
      if (x1 - x0 > 3) {
        // Narrow the row to where all three weights can be positive, one sample too wide at most.
        const r = 1 - s - t;
        const rX = -secondX - thirdX;
        if (secondX > 0) {
          const x = -s / secondX - 1;
          if (x > from - x0) from = x0 + Math.floor(x);
        } else if (secondX < 0) {
          const x = -s / secondX + 1;
          if (x < to - x0) to = x0 + Math.ceil(x);
        }
        if (thirdX > 0) {
          const x = -t / thirdX - 1;
          if (x > from - x0) from = x0 + Math.floor(x);
        } else if (thirdX < 0) {
          const x = -t / thirdX + 1;
          if (x < to - x0) to = x0 + Math.ceil(x);
        }
        if (rX > 0) {
          const x = -r / rX - 1;
          if (x > from - x0) from = x0 + Math.floor(x);
        } else if (rX < 0) {
          const x = -r / rX + 1;
          if (x < to - x0) to = x0 + Math.ceil(x);
        }
        if (from > to) continue;
        s += secondX * (from - x0);
        t += thirdX * (from - x0);
      }
      for (let x = from; x <= to; x++, s += secondX, t += thirdX) {
        if (s < slack || t < slack || 1 - s - t < slack) continue;
        const index = row + x;
        const depth = nearA + s * nearB + t * nearC;
        if (stencil) {
          const p = (s * (nearB + nearA)) / depth;
          const q = (t * (nearC + nearA)) / depth;
          const o = 1 - p - q;
          const u = values[a + 3]! * o + values[b + 3]! * p + values[c + 3]! * q;
          const v = values[a + 4]! * o + values[b + 4]! * p + values[c + 4]! * q;
          const { width, height, texels } = stencil;
          const column = Math.floor(u * width) & (width - 1);
          const line = Math.floor((1 - v) * height) & (height - 1);
          if (texels[(line * width + column) * 4 + 3]! < 26000) continue;
        }
        if (covered[index] !== item + 1) {
          covered[index] = item + 1;
          fresh++;
        }
        if (depth > near[index]!) {
          near[index] = depth;
          this.triangle[index] = triangle;
          second[index] = s;
          third[index] = t;
        }
      }
    }
    return fresh;
  }
}
