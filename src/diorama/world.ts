/** @file The world: the pack's meshes and panoramas by name, and pictures of stages set with them. */

import { readWorld } from "#host/diorama";
import { misuse } from "../tensor/index.js";
import { type Material, type Mesh, unpackMesh } from "./mesh.js";
import { type Pack, type PackedMesh, type PackedPanorama, readPack } from "./pack.js";
import { makePanorama, type Panorama } from "./panorama.js";
import { Renderer } from "./renderer.js";
import type { Item, MeshInfo, PanoramaInfo, Rendering, Stage, Vector } from "./stage.js";
import { turned } from "./tables.js";
import { makeTexture, type Texture } from "./texture.js";
import { decodePicture } from "./wavelet.js";

export interface RenderOptions {
  /** Pixels a side, 16 to 1024. */
  size?: number;
}

export class World {
  readonly meshes: ReadonlyMap<string, MeshInfo>;
  readonly panoramas: ReadonlyMap<string, PanoramaInfo>;
  readonly #pack: Pack;
  readonly #packedMeshes: Map<string, PackedMesh>;
  readonly #packedPanoramas: Map<string, PackedPanorama>;
  readonly #unpackedMeshes = new Map<string, Mesh>();
  readonly #unpackedPanoramas = new Map<string, Panorama>();
  readonly #textures = new Map<number, Texture>();
  readonly #renderer = new Renderer();

  constructor(pack: Pack) {
    const { meshes, panoramas } = pack.index;
    this.#pack = pack;
    this.#packedMeshes = new Map(meshes.map((mesh) => [mesh.name, mesh]));
    this.#packedPanoramas = new Map(panoramas.map((panorama) => [panorama.name, panorama]));
    this.meshes = new Map(
      meshes.map(({ name, size, indices, materials, letters, attach }) => [
        name,
        { size, triangles: indices / 3, tintable: materials.some(({ tint }) => tint), letters, attach },
      ]),
    );
    this.panoramas = new Map(panoramas.map(({ name, turns, indoor }) => [name, { turns, indoor }]));
  }

  /**
   * Reads the pack: the package's own by default; in the browser "diorama/world.bin" beside the page.
   * @throws DiffsightError FILE_NOT_FOUND, NETWORK, PACK_BROKEN
   */
  static async open(source?: string | URL): Promise<World> {
    return new World(readPack(await readWorld(source)));
  }

  /**
   * Draws a stage. The same stage gives the same pixels on every host.
   * @throws DiffsightError UNKNOWN_MESH, UNKNOWN_PANORAMA, STAGE, SIGN
   */
  render(stage: Stage, { size = 64 }: RenderOptions = {}): Rendering {
    check(stage, size);
    const meshes = stage.items.map(({ mesh }) => this.#mesh(mesh));
    return this.#renderer.render(stage, meshes, this.#panorama(stage.panorama), size);
  }

  /** Where an item's attach point lies on the stage, for items that are not rolled. */
  attached(item: Item, point: keyof MeshInfo["attach"]): Vector {
    const place = this.meshes.get(item.mesh)?.attach[point];
    if (!place) {
      const known = Object.keys(this.meshes.get(item.mesh)?.attach ?? {}).join(", ") || "none";
      throw misuse("STAGE", `The mesh "${item.mesh}" has no point "${point}": it has ${known}.`);
    }
    const [c, s] = turned(item.yaw);
    const [x, y, z] = place;
    return [
      item.position[0] + (x * c + z * s) * item.scale,
      item.position[1] + y * item.scale,
      item.position[2] + (z * c - x * s) * item.scale,
    ];
  }

  #mesh(name: string): Mesh {
    const before = this.#unpackedMeshes.get(name);
    if (before) return before;
    const packed = this.#packedMeshes.get(name);
    if (!packed) {
      const names = [...this.meshes.keys()].sort().join(", ");
      throw misuse("UNKNOWN_MESH", `The diorama has no mesh "${name}": it has ${names}.`);
    }
    const materials = packed.materials.map(
      ({ colour, texture, tint = false, gloss = false, letters = false }): Material => {
        const picture = texture === undefined ? undefined : this.#texture(texture);
        const stencil = texture !== undefined && this.#pack.index.textures[texture]!.alpha;
        return { colour, texture: picture, mean: brightness(picture), stencil, tint, gloss, letters };
      },
    );
    const mesh = unpackMesh(packed, this.#pack.bytes(packed), materials);
    this.#unpackedMeshes.set(name, mesh);
    return mesh;
  }

  #texture(number: number): Texture {
    const before = this.#textures.get(number);
    if (before) return before;
    const packed = this.#pack.index.textures[number]!;
    const pixels = decodePicture(this.#pack.bytes(packed), packed);
    const texture = makeTexture(pixels, packed.width, packed.height);
    this.#textures.set(number, texture);
    return texture;
  }

  #panorama(name: string): Panorama {
    const before = this.#unpackedPanoramas.get(name);
    if (before) return before;
    const packed = this.#packedPanoramas.get(name);
    if (!packed) {
      const names = [...this.panoramas.keys()].sort().join(", ");
      throw misuse("UNKNOWN_PANORAMA", `The diorama has no panorama "${name}": it has ${names}.`);
    }
    const panorama = makePanorama(packed, decodePicture(this.#pack.bytes(packed), packed));
    this.#unpackedPanoramas.set(name, panorama);
    return panorama;
  }
}

/** Of a texture's smallest copy. */
function brightness(texture: Texture | undefined): number {
  if (!texture) return 1;
  const [r, g, b] = texture.at(-1)!.texels as unknown as [number, number, number];
  const mean = (0.2126 * r + 0.7152 * g + 0.0722 * b) / 65535;
  return mean > 0.02 ? mean : 0.02;
}

function check({ items, camera, turn }: Stage, size: number): void {
  if (!Number.isInteger(size) || size < 16 || size > 1024) {
    throw misuse("STAGE", `A picture of ${size} pixels a side cannot be drawn: 16 to 1024 are allowed.`);
  }
  if (items.length > 254) throw misuse("STAGE", `A stage holds at most 254 items, not ${items.length}.`);
  const numbers = [
    ...items.flatMap(({ position, yaw, roll = 0, scale, tint = [] }) => [
      ...position,
      yaw,
      roll,
      scale,
      ...tint,
    ]),
    ...camera.eye,
    ...camera.target,
    turn,
  ];
  if (!numbers.every(Number.isFinite)) throw misuse("STAGE", "A stage's numbers must all be finite.");
  const flat = items.find(({ scale }) => scale <= 0);
  if (flat) throw misuse("STAGE", `The scale of "${flat.mesh}" is ${flat.scale}: it must be above 0.`);
  if (!(camera.fov >= 16 && camera.fov <= 1920)) {
    throw misuse("STAGE", `A field of view of ${camera.fov} steps cannot be drawn: 16 to 1920 are allowed.`);
  }
  if (camera.eye.every((value, k) => value === camera.target[k])) {
    throw misuse("STAGE", "The camera's eye and target are the same point.");
  }
}
