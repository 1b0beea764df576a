/** @file Makes a small, clean mesh of a model: hidden faces out, faces turned outward, simplified, creased, shaded. */

import {
  type Entry,
  type Material,
  readObj,
  readTexture,
  type Soup,
  simplifier,
  type Triple,
} from "./sources.js";

export interface Shape {
  /** Metres, base at y = 0, centred in x and z, facing +z. */
  positions: Float32Array;
  normals: Float32Array;
  uvs: Float32Array;
  /** How open each corner lies to the light around, 0 to 1. */
  openness: Float32Array;
  indices: Uint32Array;
  groups: { material: number; from: number; count: number; twoSided: boolean }[];
  materials: Material[];
  size: Triple;
}

/** Raised when the same options give another shape. */
export const shapeVersion = 2;

export interface ShapeOptions {
  triangles: number;
  /** Quarter turns about the vertical that make it face +z. */
  quarters?: number | undefined;
  /** Materials to leave out. */
  without?: RegExp | undefined;
  /** Degrees between faces that are shaded as one surface. */
  crease?: number | undefined;
  /** Larger than the catalogue says. */
  scale?: number | undefined;
}

const sub = (a: Triple, b: Triple): Triple => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a: Triple, b: Triple) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a: Triple, b: Triple): Triple => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
const unit = (a: Triple): Triple => {
  const length = Math.hypot(...a) || 1;
  return [a[0] / length, a[1] / length, a[2] / length];
};

/** Evenly spread directions (Fibonacci's sphere). */
function directions(count: number): Triple[] {
  return Array.from({ length: count }, (_, i) => {
    const y = 1 - (2 * (i + 0.5)) / count;
    const angle = i * Math.PI * (3 - Math.sqrt(5));
    const r = Math.sqrt(1 - y * y);
    return [r * Math.cos(angle), y, r * Math.sin(angle)];
  });
}

/** A depth buffer of the whole model, seen from far away. */
class View {
  readonly across: Triple;
  readonly up: Triple;
  readonly depths: Float32Array;
  constructor(
    readonly toward: Triple,
    readonly centre: Triple,
    readonly radius: number,
    readonly side = 384,
  ) {
    this.across = unit(cross(Math.abs(toward[1]) > 0.9 ? [1, 0, 0] : [0, 1, 0], toward));
    this.up = cross(toward, this.across);
    this.depths = new Float32Array(side * side).fill(Number.NEGATIVE_INFINITY);
  }
  project(p: Triple): Triple {
    const d = sub(p, this.centre);
    const half = this.side / 2;
    return [
      (dot(d, this.across) / this.radius) * half + half,
      (dot(d, this.up) / this.radius) * half + half,
      dot(d, this.toward),
    ];
  }
  draw(a: Triple, b: Triple, c: Triple): void {
    const [A, B, C] = [this.project(a), this.project(b), this.project(c)];
    const area = (B[0] - A[0]) * (C[1] - A[1]) - (B[1] - A[1]) * (C[0] - A[0]);
    if (Math.abs(area) < 1e-9) return;
    const x0 = Math.max(0, Math.floor(Math.min(A[0], B[0], C[0])));
    const x1 = Math.min(this.side - 1, Math.ceil(Math.max(A[0], B[0], C[0])));
    const y0 = Math.max(0, Math.floor(Math.min(A[1], B[1], C[1])));
    const y1 = Math.min(this.side - 1, Math.ceil(Math.max(A[1], B[1], C[1])));
    for (let y = y0; y <= y1; y++) {
      for (let x = x0; x <= x1; x++) {
        const X = x + 0.5;
        const Y = y + 0.5;
        const v = ((X - A[0]) * (C[1] - A[1]) - (Y - A[1]) * (C[0] - A[0])) / area;
        const w = ((B[0] - A[0]) * (Y - A[1]) - (B[1] - A[1]) * (X - A[0])) / area;
        if (v < 0 || w < 0 || v + w > 1) continue;
        const depth = A[2] + v * (B[2] - A[2]) + w * (C[2] - A[2]);
        const at = y * this.side + x;
        if (depth > this.depths[at]!) this.depths[at] = depth;
      }
    }
  }
  /** Whether nothing lies before a point. */
  sees(p: Triple, slack: number): boolean {
    const [x, y, depth] = this.project(p);
    const column = Math.min(this.side - 1, Math.max(0, Math.floor(x)));
    const row = Math.min(this.side - 1, Math.max(0, Math.floor(y)));
    return this.depths[row * this.side + column]! <= depth + slack;
  }
}

function views(positions: Triple[], triangles: [number, number, number][], count: number): View[] {
  const low: Triple = [Infinity, Infinity, Infinity];
  const high: Triple = [-Infinity, -Infinity, -Infinity];
  for (const p of positions) {
    for (let k = 0; k < 3; k++) {
      low[k] = Math.min(low[k]!, p[k]!);
      high[k] = Math.max(high[k]!, p[k]!);
    }
  }
  const centre: Triple = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, (low[2] + high[2]) / 2];
  const radius = (Math.hypot(...sub(high, low)) / 2) * 1.01;
  return directions(count).map((toward) => {
    const view = new View(toward, centre, radius);
    for (const [a, b, c] of triangles) view.draw(positions[a]!, positions[b]!, positions[c]!);
    return view;
  });
}

/** Scales to the catalogue's size, centres, puts the base on the floor. */
function place(soup: Soup, entry: Entry, { quarters = 0, scale = 1, without }: ShapeOptions): Triple {
  const turn = entry.rotation;
  if (turn) {
    soup.positions = soup.positions.map(([x, y, z]) => [
      turn[0]! * x + turn[1]! * y + turn[2]! * z,
      turn[3]! * x + turn[4]! * y + turn[5]! * z,
      turn[6]! * x + turn[7]! * y + turn[8]! * z,
    ]);
  }
  if (without)
    soup.triangles = soup.triangles.filter(({ material }) => !without.test(soup.materials[material]!.name));
  const bounds = () => {
    const low: Triple = [Infinity, Infinity, Infinity];
    const high: Triple = [-Infinity, -Infinity, -Infinity];
    for (const { corners } of soup.triangles) {
      for (const [position] of corners) {
        for (let k = 0; k < 3; k++) {
          low[k] = Math.min(low[k]!, soup.positions[position]![k]!);
          high[k] = Math.max(high[k]!, soup.positions[position]![k]!);
        }
      }
    }
    return { low, high };
  };
  const { low, high } = bounds();
  const extent = sub(high, low);
  // Models that fill the catalogue's box unevenly keep their own proportions.
  const wanted = entry.size.map((size) => size * scale) as Triple;
  const factor = [0, 1, 2].map((k) => (extent[k]! > 0 ? wanted[k]! / extent[k]! : 1)) as Triple;
  let positions = soup.positions.map(
    (p) =>
      [
        (p[0] - (low[0] + high[0]) / 2) * factor[0],
        (p[1] - low[1]) * factor[1],
        (p[2] - (low[2] + high[2]) / 2) * factor[2],
      ] as Triple,
  );
  for (let i = 0; i < (quarters + 4) % 4; i++) positions = positions.map(([x, y, z]) => [z, y, -x]);
  soup.positions = positions;
  return quarters % 2 ? [wanted[2], wanted[1], wanted[0]] : wanted;
}

/** Drops what no eye can see; turns faces outward; tells which are seen from both sides. */
function clean(soup: Soup): { corners: [number, number][]; material: number; twoSided: boolean }[] {
  const faces = soup.triangles.filter(({ corners: [a, b, c] }) => {
    const [A, B, C] = [a!, b!, c!].map(([p]) => soup.positions[p]!) as [Triple, Triple, Triple];
    return Math.hypot(...cross(sub(B, A), sub(C, A))) > 1e-12;
  });
  const triples = faces.map(({ corners }) => corners.map(([p]) => p) as [number, number, number]);
  const all = views(soup.positions, triples, triples.length > 60000 ? 60 : 100);
  const slack = all[0]!.radius * 0.012;
  const kept: { corners: [number, number][]; material: number; twoSided: boolean }[] = [];
  for (const [index, [a, b, c]] of triples.entries()) {
    const [A, B, C] = [soup.positions[a]!, soup.positions[b]!, soup.positions[c]!];
    const normal = unit(cross(sub(B, A), sub(C, A)));
    const probes: Triple[] = [
      [(A[0] + B[0] + C[0]) / 3, (A[1] + B[1] + C[1]) / 3, (A[2] + B[2] + C[2]) / 3],
      [(A[0] * 4 + B[0] + C[0]) / 6, (A[1] * 4 + B[1] + C[1]) / 6, (A[2] * 4 + B[2] + C[2]) / 6],
      [(A[0] + B[0] * 4 + C[0]) / 6, (A[1] + B[1] * 4 + C[1]) / 6, (A[2] + B[2] * 4 + C[2]) / 6],
      [(A[0] + B[0] + C[0] * 4) / 6, (A[1] + B[1] + C[1] * 4) / 6, (A[2] + B[2] + C[2] * 4) / 6],
    ];
    let front = 0;
    let back = 0;
    for (const view of all) {
      const facing = dot(normal, view.toward);
      if (Math.abs(facing) < 0.05) continue;
      if (!probes.some((probe) => view.sees(probe, slack / 4))) continue;
      if (facing > 0) front++;
      else back++;
    }
    if (front + back === 0) continue;
    const { corners, material } = faces[index]!;
    const ratio = Math.min(front, back) / Math.max(front, back);
    const flip = back > front;
    kept.push({
      corners: flip ? [corners[0]!, corners[2]!, corners[1]!] : corners,
      material,
      twoSided: ratio > 0.2,
    });
  }
  return kept;
}

/** Everything from the model's file to the mesh that is packed. */
export async function makeShape(entry: Entry, options: ShapeOptions): Promise<Shape> {
  const soup = readObj(entry.file);
  const size = place(soup, entry, options);
  // A picture that covers nothing but one colour is that colour.
  for (const material of soup.materials) {
    if (material.map && !(await readTexture(material.map, 8))) material.map = undefined;
  }
  const faces = clean(soup);
  const welded = weld(soup, faces);
  const indices = simplify(welded, faces.length, options.triangles);
  return finish(soup, welded, indices, size, options.crease ?? 50);
}

interface Welded {
  positions: Float32Array;
  uvs: Float32Array;
  /** Of each vertex: material * 2 + twoSided. */
  kinds: Uint16Array;
  indices: Uint32Array;
}

function weld(soup: Soup, faces: ReturnType<typeof clean>): Welded {
  const seen = new Map<string, number>();
  const positions: number[] = [];
  const uvs: number[] = [];
  const kinds: number[] = [];
  const indices: number[] = [];
  for (const { corners, material, twoSided } of faces) {
    const textured = soup.materials[material]!.map !== undefined;
    for (const [position, uv] of corners) {
      const p = soup.positions[position]!;
      const [u, v] = textured && uv >= 0 ? soup.uvs[uv]! : [0, 0];
      const kind = material * 2 + Number(twoSided);
      const key = `${p.map((x) => x.toFixed(5))}|${u!.toFixed(4)},${v!.toFixed(4)}|${kind}`;
      let index = seen.get(key);
      if (index === undefined) {
        index = kinds.length;
        seen.set(key, index);
        positions.push(...p);
        uvs.push(u!, v!);
        kinds.push(kind);
      }
      indices.push(index);
    }
  }
  return {
    positions: new Float32Array(positions),
    uvs: new Float32Array(uvs),
    kinds: new Uint16Array(kinds),
    indices: new Uint32Array(indices),
  };
}

/** Vertices of large faces, and whatever shares their places: panels are as simple as they can be, and stay. */
function panels({ positions, indices }: Welded): Uint8Array {
  const at = (i: number) => Array.from(positions.subarray(i * 3, i * 3 + 3)) as Triple;
  let extent = 0;
  for (let k = 0; k < 3; k++) {
    const own = positions.filter((_, i) => i % 3 === k);
    extent = Math.max(extent, own.reduce((a, x) => Math.max(a, x)) - own.reduce((a, x) => Math.min(a, x)));
  }
  const places = new Set<string>();
  for (let i = 0; i < indices.length; i += 3) {
    const [a, b, c] = [at(indices[i]!), at(indices[i + 1]!), at(indices[i + 2]!)];
    const area = Math.hypot(...cross(sub(b, a), sub(c, a))) / 2;
    if (area > 0.006 * extent * extent) for (const p of [a, b, c]) places.add(p.join());
  }
  return Uint8Array.from({ length: positions.length / 3 }, (_, i) => Number(places.has(at(i).join())));
}

function simplify(welded: Welded, total: number, target: number): Uint32Array {
  const { positions, uvs, kinds, indices } = welded;
  if (indices.length / 3 <= target) return indices;
  const wanted = target * 3;
  const locked = panels(welded);
  const reduce = (from: Uint32Array, weight: number, error: number, flags: string[]): Uint32Array =>
    simplifier.simplifyWithAttributes(
      from,
      positions,
      3,
      uvs,
      2,
      [weight, weight],
      locked,
      wanted,
      error,
      flags,
    )[0];
  let result = reduce(indices, 0.3, 0.03, []);
  if (result.length > wanted * 1.1) result = reduce(result, 0.1, 0.05, ["Permissive"]);
  if (result.length <= wanted * 1.25) return result;
  // What no careful simplification brings down (foliage): each material by itself, roughly.
  const parts: number[] = [];
  for (const kind of new Set(kinds)) {
    const own: number[] = [];
    for (let i = 0; i < result.length; i += 3) {
      if (kinds[result[i]!] === kind) own.push(result[i]!, result[i + 1]!, result[i + 2]!);
    }
    const share = Math.max(4, Math.floor((target * own.length) / result.length)) * 3;
    const [rough] = simplifier.simplifySloppy(new Uint32Array(own), positions, 3, null, share, 0.08);
    for (const index of rough) parts.push(index);
  }
  console.error(`    sloppy: ${total} -> ${result.length / 3} -> ${parts.length / 3}`);
  return new Uint32Array(parts);
}

/** Creased normals, openness, groups by material. */
function finish(soup: Soup, welded: Welded, indices: Uint32Array, size: Triple, crease: number): Shape {
  const at = (i: number): Triple => [
    welded.positions[i * 3]!,
    welded.positions[i * 3 + 1]!,
    welded.positions[i * 3 + 2]!,
  ];
  const order = Array.from({ length: indices.length / 3 }, (_, i) => i).filter((i) => {
    const [a, b, c] = [at(indices[i * 3]!), at(indices[i * 3 + 1]!), at(indices[i * 3 + 2]!)];
    return Math.hypot(...cross(sub(b, a), sub(c, a))) > 1e-10;
  });
  order.sort((a, b) => welded.kinds[indices[a * 3]!]! - welded.kinds[indices[b * 3]!]! || a - b);

  const faceNormals = order.map((i) => {
    const [a, b, c] = [at(indices[i * 3]!), at(indices[i * 3 + 1]!), at(indices[i * 3 + 2]!)];
    return cross(sub(b, a), sub(c, a));
  });
  const around = new Map<string, number[]>();
  const place = (i: number) =>
    at(i)
      .map((x) => Math.round(x * 5000))
      .join();
  for (const [face, i] of order.entries()) {
    for (let k = 0; k < 3; k++) {
      const key = place(indices[i * 3 + k]!);
      const list = around.get(key);
      if (list) list.push(face);
      else around.set(key, [face]);
    }
  }
  const limit = Math.cos((crease * Math.PI) / 180);
  const seen = new Map<string, number>();
  const positions: number[] = [];
  const normals: number[] = [];
  const uvs: number[] = [];
  const out: number[] = [];
  const groups: Shape["groups"] = [];
  for (const [face, i] of order.entries()) {
    const own = unit(faceNormals[face]!);
    const kind = welded.kinds[indices[i * 3]!]!;
    const last = groups.at(-1);
    if (last && last.material === kind >> 1 && last.twoSided === Boolean(kind & 1)) last.count += 3;
    else groups.push({ material: kind >> 1, from: out.length, count: 3, twoSided: Boolean(kind & 1) });
    for (let k = 0; k < 3; k++) {
      const vertex = indices[i * 3 + k]!;
      let sum: Triple = [0, 0, 0];
      for (const other of around.get(place(vertex))!) {
        const normal = faceNormals[other]!;
        const alike = dot(unit(normal), own);
        const same = Math.abs(alike) >= limit;
        if (same) sum = [0, 1, 2].map((q) => sum[q]! + (alike < 0 ? -1 : 1) * normal[q]!) as Triple;
      }
      const normal = unit(sum);
      const p = at(vertex);
      const [u, v] = [welded.uvs[vertex * 2]!, welded.uvs[vertex * 2 + 1]!];
      const key = `${p}|${normal.map((x) => Math.round(x * 40))}|${u},${v}`;
      let index = seen.get(key);
      if (index === undefined) {
        index = positions.length / 3;
        seen.set(key, index);
        positions.push(...p);
        normals.push(...normal);
        uvs.push(u, v);
      }
      out.push(index);
    }
  }
  const shape: Shape = {
    positions: new Float32Array(positions),
    normals: new Float32Array(normals),
    uvs: new Float32Array(uvs),
    openness: new Float32Array(positions.length / 3),
    indices: new Uint32Array(out),
    groups,
    materials: soup.materials,
    size,
  };
  shade(shape);
  return shape;
}

/** Ambient occlusion, with a floor under the model. */
export function shade(shape: Shape): void {
  const count = shape.positions.length / 3;
  const points = Array.from(
    { length: count },
    (_, i) => Array.from(shape.positions.subarray(i * 3, i * 3 + 3)) as Triple,
  );
  const triangles: [number, number, number][] = [];
  for (let i = 0; i < shape.indices.length; i += 3) {
    triangles.push([shape.indices[i]!, shape.indices[i + 1]!, shape.indices[i + 2]!]);
  }
  const all = views(points, triangles, 160);
  const radius = all[0]!.radius;
  const twoSided = new Set<number>();
  for (const { from, count: length, twoSided: both } of shape.groups) {
    if (both) for (let i = from; i < from + length; i++) twoSided.add(shape.indices[i]!);
  }
  const [halfX, , halfZ] = shape.size.map((x) => x / 2) as Triple;
  for (let i = 0; i < count; i++) {
    const normal = Array.from(shape.normals.subarray(i * 3, i * 3 + 3)) as Triple;
    const p = points[i]!;
    const lit = (side: number) => {
      const lifted = p.map((x, k) => x + side * normal[k]! * radius * 0.02) as Triple;
      let open = 0;
      let total = 0;
      for (const view of all) {
        const weight = side * dot(normal, view.toward);
        if (weight <= 0) continue;
        total += weight;
        if (!view.sees(lifted, radius * 0.012)) continue;
        if (view.toward[1] >= 0) {
          open += weight;
          continue;
        }
        // Toward the floor: dark where the model itself keeps the light away.
        const reach = p[1] / -view.toward[1];
        const x = Math.abs(p[0] + view.toward[0] * reach) / halfX;
        const z = Math.abs(p[2] + view.toward[2] * reach) / halfZ;
        open += weight * Math.min(1, 0.25 + 0.75 * Math.max(0, Math.max(x, z) - 0.6));
      }
      return total > 0 ? open / total : 1;
    };
    shape.openness[i] = twoSided.has(i) ? Math.max(lit(1), lit(-1)) : lit(1);
  }
}
