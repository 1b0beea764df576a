/** @file From facts to a stage: where each thing's mesh stands, how large, and from where the camera looks. */

import { colours, type Noun, nouns, places, states } from "./lexicon.js";
import { type Scene, shown, type Thing } from "./scene.js";
import type { Camera, Item, MeshInfo, Stage, Vector } from "./stage.js";
import { turned } from "./tables.js";

/** What a stage needs to know of the assets. */
export interface Assets {
  meshes: ReadonlyMap<string, MeshInfo>;
}

/** The meshes that are nobody's noun. */
const hatMesh = "hat";
const hatWidth = 0.36;

const cameras = {
  alone: { eye: [0, 0.95, 2.6], target: [0, 0.37, 0], fov: 432 },
  together: { eye: [0, 0.92, 2.6], target: [0, 0.3, 0], fov: 432 },
  high: { eye: [0, 1.25, 2.45], target: [0, 0.3, 0], fov: 432 },
  above: { eye: [0, 2.6, 0.95], target: [0, 0.12, 0], fov: 440 },
  near: { eye: [0, 0.78, 1.75], target: [0, 0.42, 0], fov: 432 },
  far: { eye: [0, 1.35, 4.9], target: [0, 0.42, 0], fov: 432 },
} as const satisfies Record<string, Camera>;

/** Sets a scene up for the renderer. */
export function stageOf(scene: Scene, assets: Assets): Stage {
  const { panorama, turns } = places[scene.place];
  return {
    items: itemsOf(scene, assets),
    camera: cameraOf(scene),
    panorama,
    turn: turns[scene.turn],
  };
}

function cameraOf({ layout, view }: Scene): Camera {
  if (view === "above" || view === "near" || view === "far") return cameras[view];
  if (layout === "single") return cameras.alone;
  return layout === "depth" || layout === "box" || layout === "many" ? cameras.high : cameras.together;
}

function itemsOf(scene: Scene, assets: Assets): Item[] {
  const things = shown(scene);
  const { relation } = scene;
  if (relation === "on" || relation === "under" || relation === "in" || relation === "beside") {
    const [held, holder] = things as [Thing, Thing];
    const base = itemOf(holder, assets, holder.x, 0, holder.z);
    return [heldItem(held, base, relation, assets), base];
  }
  const items = things.map((thing) => itemOf(thing, assets, thing.x, 0, thing.z));
  const hats = things.flatMap((thing, i) => (thing.hat ? [hatOn(items[i]!, thing.noun, assets)] : []));
  return [...items, ...hats];
}

function itemOf(thing: Thing, assets: Assets, x: number, y: number, z: number): Item {
  const { noun, colour, state, says, yaw } = thing;
  const { fallen = false, mesh = meshOf(noun), scale: grown = 1 } = state ? states[state] : {};
  const scale = scaleOf(thing, assets) * grown;
  const { size } = found(assets.meshes, mesh);
  // A mesh lies down beside its origin: it is brought back to the middle.
  const [dx, dz] = fallen ? turn([(-size[1] * scale) / 2, 0, 0], yaw) : [0, 0];
  return {
    mesh,
    position: [x / 1000 + dx, y, z / 1000 + dz],
    yaw,
    ...(fallen && { roll: 1024 }),
    scale,
    ...(colour && { tint: colours[colour] }),
    ...(says && { sign: says.toUpperCase() }),
  };
}

/** What a thing of size 1000 may take across and up. */
const room = { across: 1.25, up: 1.05 };
const leastAcross = 0.6;

/** Fits the noun, upright and turned as it is, into its room; its other states have the same scale. */
function scaleOf({ noun, yaw, size }: Thing, { meshes }: Assets): number {
  const [width, height, depth] = found(meshes, meshOf(noun)).size;
  const [cosine, sine] = turned(yaw);
  // What points at the camera comes near it: it is made smaller than it would fit.
  const across = Math.max(
    width * Math.abs(cosine) + depth * Math.abs(sine),
    leastAcross * Math.max(width, depth),
  );
  // Things side by side have half the picture's width, but most of its height.
  const share = size / 1000;
  return Math.min(
    (room.across * share) / across,
    (room.up * Math.min(1.35 * share, Math.max(1, share))) / height,
  );
}

function meshOf(noun: Noun): string {
  return nouns[noun].mesh ?? noun;
}

/** A small thing on, under, in or beside what stands in the middle. */
function heldItem(
  thing: Thing,
  base: Item,
  relation: "on" | "under" | "in" | "beside",
  assets: Assets,
): Item {
  const { attach, size } = found(assets.meshes, base.mesh);
  const top = (attach.top?.[1] ?? size[1]) * base.scale;
  const [middle, , depth] = base.position;
  switch (relation) {
    case "on":
      return itemOf(thing, assets, thing.x, top, thing.z);
    case "under":
      return itemOf(thing, assets, thing.x, 0, thing.z);
    case "in": {
      // On whatever else is in the box, so that it looks out over the rim.
      const inside = itemOf(thing, assets, middle * 1000, 0, depth * 1000);
      const height = found(assets.meshes, inside.mesh).size[1] * inside.scale;
      return { ...inside, position: [middle, rim * top - hidden * height, depth] };
    }
    case "beside": {
      const way = middle < 0 ? 1 : -1;
      return itemOf(thing, assets, middle * 1000 + way * (size[0] * base.scale * 500 + 280), 0, 150);
    }
  }
}

/** Of the open box's height, flaps included; and the share of what is in it that it hides. */
const rim = 0.68;
const hidden = 0.25;

function hatOn(wearer: Item, noun: Noun, { meshes }: Assets): Item {
  const [, height, depth] = found(meshes, wearer.mesh).size;
  const [forward, up] = nouns[noun].head!;
  const [dx, dz] = turn([0, 0, forward * depth * wearer.scale], wearer.yaw);
  const [x, y, z] = wearer.position;
  return {
    mesh: hatMesh,
    position: [x + dx, y + up * height * wearer.scale - 0.03, z + dz],
    yaw: wearer.yaw,
    scale: hatWidth / found(meshes, hatMesh).size[0],
    tint: colours.red,
  };
}

/** x and z of a vector turned about the vertical. */
function turn([x, , z]: Vector, yaw: number): [number, number] {
  const [cosine, sine] = turned(yaw);
  return [x * cosine + z * sine, z * cosine - x * sine];
}

function found<T>(map: ReadonlyMap<string, T>, name: string): T {
  const value = map.get(name);
  if (!value)
    throw new RangeError(`The pack of the world has no "${name}"; it has ${[...map.keys()].join(", ")}.`);
  return value;
}
