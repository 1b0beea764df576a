/** @file What a renderer is given and what it gives back: things standing in a place, seen by a camera. */

/** x to the right, y up, z toward the usual camera; metres. */
export type Vector = readonly [x: number, y: number, z: number];

/** A whole turn: angles are whole steps of 1/4096 turn, so that no transcendental function is ever called. */
export const fullTurn = 4096;

export interface Item {
  /** A name of `World.meshes`. */
  mesh: string;
  /** Where it stands: x and z of the mesh's origin (the middle of its base), and the height of its lowest point. */
  position: Vector;
  /** Steps about the vertical: 0 faces the usual camera (+z), a quarter faces right (+x). */
  yaw: number;
  /** Steps about its own forward axis, before yaw: a quarter lays it on its left side, as it sees itself. */
  roll?: number;
  /** Times its real size. */
  scale: number;
  /** Linear reflectance of its tintable material; left out, the material's own. */
  tint?: Vector;
  /** What stands on a mesh that has `letters`: up to so many of A-Z, 0-9, "!" and "?". */
  sign?: string;
}

export interface Camera {
  eye: Vector;
  target: Vector;
  /** Steps of the whole field of view, the same across and down. */
  fov: number;
}

export interface Stage {
  /** At most 254. */
  items: readonly Item[];
  camera: Camera;
  /** A name of `World.panoramas`. */
  panorama: string;
  /** Steps by which the panorama turns about the vertical; its light turns with it. */
  turn: number;
}

/** What is seen of one item; areas in pixels, fractions of a quarter. */
export interface Sight {
  /** Left, top (included), right, bottom (excluded) of what is seen, in pixels; all 0 when nothing is. */
  box: readonly [left: number, top: number, right: number, bottom: number];
  /** Area that is seen. */
  pixels: number;
  /** Area inside the picture, were it alone: `1 - pixels / unoccluded` is the share that others hide. */
  unoccluded: number;
}

export interface Rendering {
  /** Pixels a side. */
  size: number;
  /** [size, size, 3], sRGB. */
  rgb: Uint8Array;
  /**
   * [size, size]: 0 background, i + 1 item i: what most of a pixel's four samples show; in a tie the earlier item,
   * and an item before the background.
   */
  mask: Uint8Array;
  /** One for each item. */
  visible: Sight[];
}

/** Where other things can be put, in the mesh's own metres. */
export type AttachPoint = "top" | "head" | "inside";

export interface MeshInfo {
  /** Real size. */
  size: Vector;
  triangles: number;
  /** Whether `tint` repaints it. */
  tintable: boolean;
  /** Letters that its sign holds; 0 for what is no sign. */
  letters: number;
  /** Middle of a table's top or a seat, crown of a head, floor of an open box. */
  attach: Partial<Record<AttachPoint, Vector>>;
}

export interface PanoramaInfo {
  /** Turns at which free floor lies before the usual camera. */
  turns: readonly number[];
  indoor: boolean;
}
