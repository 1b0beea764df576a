/** @file From facts to a stage: where each thing's mesh stands, how large, and from where the camera looks. */

import { colours, nouns, places, states } from "./lexicon.js";
import { type Scene, shown, type Thing } from "./scene.js";
import type { Camera, Item, MeshInfo, PanoramaInfo, Stage, Vector } from "./stage.js";

/** What a stage needs to know of the assets. */
export interface Assets {
  meshes: ReadonlyMap<string, MeshInfo>;
  panoramas: ReadonlyMap<string, PanoramaInfo>;
}

/** The meshes that are nobody's noun. */
const hatMesh = "hat";

const cameras = {
  alone: { eye: [0, 0.95, 2.6], target: [0, 0.37, 0], fov: 432 },
  together: { eye: [0, 0.9, 2.5], target: [0, 0.3, 0], fov: 432 },
  high: { eye: [0, 1.25, 2.45], target: [0, 0.3, 0], fov: 432 },
  above: { eye: [0, 2.6, 0.95], target: [0, 0.12, 0], fov: 440 },
  near: { eye: [0, 0.78, 1.75], target: [0, 0.42, 0], fov: 432 },
  far: { eye: [0, 1.35, 4.9], target: [0, 0.42, 0], fov: 432 },
} as const satisfies Record<string, Camera>;

/** Sets a scene up for the renderer. */
export function stageOf(scene: Scene, assets: Assets): Stage {
  const panorama = places[scene.place];
  const { turns } = found(assets.panoramas, panorama);
  return {
    items: itemsOf(scene, assets),
    camera: cameraOf(scene),
    panorama,
    turn: turns[scene.turn % turns.length]!,
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
  const hats = things.flatMap((thing, i) => (thing.hat ? [hatOn(items[i]!, assets)] : []));
  return [...items, ...hats];
}

function itemOf(thing: Thing, { meshes }: Assets, x: number, y: number, z: number): Item {
  const { noun, colour, state, says, yaw, size } = thing;
  const { fallen = false, mesh = nouns[noun].mesh ?? noun } = state ? states[state] : {};
  const info = found(meshes, mesh);
  const scale = size / 1000 / Math.max(...info.size);
  // A mesh lies down beside its origin: it is brought back to the middle.
  const [dx, dz] = fallen ? turned([(-info.size[1] * scale) / 2, 0, 0], yaw) : [0, 0];
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

/** A small thing on, under, in or beside what stands in the middle. */
function heldItem(
  thing: Thing,
  base: Item,
  relation: "on" | "under" | "in" | "beside",
  assets: Assets,
): Item {
  const { attach, size } = found(assets.meshes, base.mesh);
  const half = (Math.max(size[0], size[2]) * base.scale) / 2;
  const side = thing.yaw % 2 === 0 ? 1 : -1;
  const height =
    relation === "on"
      ? (attach.top?.[1] ?? size[1]) * base.scale
      : relation === "in"
        ? (attach.inside?.[1] ?? 0) * base.scale
        : 0;
  const x = relation === "beside" ? (half + thing.size / 2200) * 1000 * side : thing.x;
  const z = relation === "beside" ? 150 : thing.z;
  return itemOf(thing, assets, x, height, z);
}

function hatOn(wearer: Item, { meshes }: Assets): Item {
  const { attach, size } = found(meshes, wearer.mesh);
  const [x, y, z] = attach.head ?? [0, size[1], 0];
  const [dx, dz] = turned([x * wearer.scale, 0, z * wearer.scale], wearer.yaw);
  const hat = found(meshes, hatMesh);
  const [px, py, pz] = wearer.position;
  return {
    mesh: hatMesh,
    position: [px + dx, py + y * wearer.scale - 0.02, pz + dz],
    yaw: wearer.yaw,
    scale: 0.42 / Math.max(...hat.size),
    tint: colours.red,
  };
}

/** x and z of a vector turned about the vertical by steps of 1/4096 turn; made of square roots alone. */
function turned([x, , z]: Vector, yaw: number): [number, number] {
  let [cos, sin] = [1, 0];
  let [rootCos, rootSin] = [-1, 0]; // half a turn
  for (let bit = 2048; bit >= 1; bit /= 2) {
    if (yaw & bit) [cos, sin] = [cos * rootCos - sin * rootSin, cos * rootSin + sin * rootCos];
    [rootCos, rootSin] = [
      Math.sqrt((1 + rootCos) / 2),
      bit === 2048 ? 1 : rootSin / (2 * Math.sqrt((1 + rootCos) / 2)),
    ];
  }
  return [x * cos + z * sin, z * cos - x * sin];
}

function found<T>(map: ReadonlyMap<string, T>, name: string): T {
  const value = map.get(name);
  if (!value)
    throw new RangeError(`The pack of the world has no "${name}"; it has ${[...map.keys()].join(", ")}.`);
  return value;
}
