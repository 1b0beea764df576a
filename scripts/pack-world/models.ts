/** @file Which models stand in the diorama, under which names, and what is done to each. */

import type { AttachPoint } from "../../src/diorama/stage.js";
import type { PanoramaChoice } from "./light.js";
import type { ShapeOptions } from "./shape.js";
import type { Triple } from "./sources.js";

export interface ModelChoice extends Partial<ShapeOptions> {
  /** library#number of the catalogue. */
  from: string;
  /** Which materials `tint` repaints; by default none. */
  tint?: RegExp;
  /** Side of its textures. */
  texture?: number;
  /** Shares of the size (x and z from the middle, y from the base). */
  attach?: Partial<Record<AttachPoint, Triple>>;
  /** All of it mirrors the sky a little, or nothing; by default what its materials' names say. */
  gloss?: boolean;
  /** Things rest on it where the catalogue says. */
  seat?: boolean;
  /** Replaces materials' colours (sRGB). */
  paint?: Record<string, Triple>;
}

const [cc0, by, kator, people, scopia] = [
  "BlendSwap-CC-0#",
  "BlendSwap-CC-BY#",
  "KatorLegaz#",
  "Reallusion#",
  "Scopia#",
];

export const models: Record<string, ModelChoice> = {
  // Animals and figures
  dog: { from: `${by}89`, crease: 80, attach: { head: [0, 0.9, 0.3] } },
  "golden dog": { from: `${scopia}162`, crease: 80 },
  cat: { from: `${by}100`, crease: 80, attach: { head: [0, 0.95, 0.38] } },
  "grey cat": { from: `${scopia}161`, crease: 80 },
  horse: { from: `${cc0}97`, seat: true, crease: 80, attach: { head: [0, 0.97, 0.42] } },
  rabbit: { from: `${scopia}205`, crease: 80 },
  hen: { from: `${cc0}94`, crease: 80, attach: { head: [0, 0.98, 0.2] } },
  teddy: { from: `${cc0}51`, tint: /teddy/, crease: 80, attach: { head: [0, 0.97, 0] } },
  snowman: {
    from: `${by}72`,
    paint: { "Material.001": [0.97, 0.97, 0.97] },
    crease: 80,
    attach: { head: [0, 1, 0] },
  },
  "rocking horse": { from: `${cc0}8`, quarters: 1 },
  // People
  man: { from: `${people}4`, crease: 80, attach: { head: [0, 0.97, 0] } },
  "sitting man": { from: `${people}11`, crease: 80 },
  "lying man": { from: `${people}14`, crease: 80 },
  woman: { from: `${people}1`, crease: 80, attach: { head: [0, 0.97, 0] } },
  "sitting woman": { from: `${people}15`, crease: 80 },
  "lying woman": { from: `${people}12`, crease: 80 },
  boy: { from: `${people}22`, crease: 80, attach: { head: [0, 0.97, 0] } },
  girl: { from: `${people}25`, crease: 80, attach: { head: [0, 0.97, 0] } },
  // Vehicles
  car: { from: `${scopia}250`, tint: /^firstcolor/, without: /^interior/ },
  "round car": { from: `${kator}69`, tint: /yellow/ },
  van: { from: `${scopia}251`, texture: 32, tint: /^firstcolor/, without: /^interior/ },
  bus: { from: `${scopia}361`, tint: /whiteBase/, without: /blackInterior/ },
  truck: {
    from: `${scopia}212`,
    tint: /red-cabin/,
    paint: { "white-container": [0.85, 0.85, 0.85] },
  },
  motorbike: { from: `${scopia}173`, texture: 64, tint: /^tap/ },
  scooter: { from: `${kator}66`, tint: /^Yellow/ },
  bicycle: { from: `${by}88`, tint: /Material\.001/ },
  tricycle: { from: `${scopia}189`, seat: true, tint: /green-plastic/ },
  biplane: { from: `${cc0}10` },
  "toy train": { from: `${by}106`, quarters: 1 },
  // Furniture
  chair: { from: `${by}18`, tint: /Child_chair/, attach: { top: [0, 0.48, 0.1] }, crease: 62 },
  "wooden chair": { from: `${cc0}26`, seat: true },
  stool: { from: `${by}28`, tint: /Material\.001/, attach: { top: [0, 1, 0] }, crease: 62 },
  armchair: { from: `${kator}47`, seat: true, tint: /./, crease: 62 },
  sofa: { from: `${kator}57`, seat: true, tint: /./, crease: 62 },
  bed: { from: `${by}77`, seat: true, tint: /couch|^bed/ },
  "round table": { from: `${cc0}27`, attach: { top: [0, 1, 0] } },
  table: { from: `${scopia}39`, attach: { top: [0, 1, 0] } },
  bench: { from: `${cc0}103`, seat: true, tint: /green/ },
  "deck chair": { from: `${cc0}65`, seat: true },
  lamp: { from: `${scopia}65`, tint: /lampshade/ },
  piano: { from: `${cc0}30`, seat: true },
  tv: { from: `${cc0}22` },
  laptop: { from: `${by}99` },
  // Clothes and bags
  cap: { from: `${scopia}237`, tint: /firstcolor|visor|button/, crease: 62 },
  hat: { from: `${scopia}238`, tint: /firstcolor/, crease: 62 },
  helmet: { from: `${scopia}239`, tint: /firstcolor/, crease: 62 },
  backpack: { from: `${by}2`, tint: /Material/, crease: 80 },
  handbag: { from: `${cc0}120`, tint: /Color$/, crease: 62 },
  suitcase: { from: `${by}103`, tint: /Coque/, without: /Interieur/ },
  umbrella: { from: `${cc0}80`, tint: /fabric|trim/, crease: 62 },
  parasol: { from: `${cc0}60` },
  // Food and kitchen
  cake: { from: `${scopia}128`, crease: 62 },
  cupcake: { from: `${cc0}142`, crease: 80 },
  hamburger: { from: `${by}96`, crease: 80 },
  apples: { from: `${scopia}70`, crease: 80 },
  mug: { from: `${kator}28`, tint: /White/, crease: 62 },
  teapot: { from: `${scopia}123`, tint: /./, quarters: 1, crease: 62 },
  kettle: { from: `${by}8`, tint: /Kettle-red/, crease: 62 },
  // Things
  ball: { from: `${by}71`, crease: 80 },
  basketball: { from: `${cc0}78`, crease: 80 },
  gift: { from: `${by}26`, tint: /^Material(\.003)?$/ },
  box: { from: `${scopia}174` },
  "open box": { from: `${scopia}180`, attach: { inside: [0, 0.06, 0] } },
  crate: { from: `${cc0}73` },
  barrel: { from: `${cc0}72`, crease: 62 },
  cone: { from: `${scopia}262` },
  hydrant: { from: `${kator}79`, tint: /PAINT/, crease: 80 },
  mailbox: { from: `${cc0}25`, tint: /Metal/ },
  tent: { from: `${scopia}357`, tint: /exteriorTent/, crease: 62 },
  "dog house": { from: `${scopia}178` },
  extinguisher: { from: `${cc0}82` },
  cube: { from: `${by}69` },
  // Plants
  cactus: { from: `${cc0}107`, crease: 62 },
  tulips: { from: `${by}108` },
  houseplant: { from: `${scopia}36` },
  "snowy pine": { from: `${scopia}354` },
  "christmas tree": { from: `${scopia}130` },
};

export const panoramas: Record<string, PanoramaChoice> = {
  park: { source: "park", indoor: false, mend: 5, turns: [256, 1024, 2048, 3072, 3584], sun: 3 },
  city: { source: "city", indoor: false, turns: [256, 1024, 2816, 3072, 3584] },
  room: { source: "apartment", indoor: true, turns: [768, 3072, 3328, 3584, 3840] },
  field: { source: "sunrise", indoor: false, mend: 5, turns: [512, 1280, 1792, 3072, 3584], sun: 2.5 },
  forest: { source: "forest", indoor: false, turns: [0, 256, 1024, 1536, 3584] },
  hall: { source: "hall", indoor: true, turns: [0, 512, 1024, 1792, 2560, 3328] },
  lobby: { source: "lobby", indoor: true, turns: [2304, 2560, 2816, 3072, 3328] },
  square: { source: "sunset", indoor: false, turns: [512, 1280, 2048, 2560, 3584], sun: 2 },
  harbour: { source: "venice", indoor: false, turns: [256, 512, 768, 1280, 1536], sun: 2 },
  warehouse: { source: "warehouse", indoor: true, turns: [0, 512, 1024, 2816, 3328] },
  desert: { source: "dawn", indoor: false, turns: [0, 512, 1024, 1536, 3584], sun: 2 },
  savanna: { source: "night", indoor: false, turns: [0, 768, 1536, 2304, 3072], sun: 4 },
};
