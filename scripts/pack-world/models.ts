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
  dog: { from: `${by}89`, attach: { head: [0, 0.9, 0.3] } },
  "golden dog": { from: `${scopia}162` },
  cat: { from: `${by}100` },
  "grey cat": { from: `${scopia}161` },
  horse: { from: `${cc0}97` },
  rabbit: { from: `${scopia}205` },
  hen: { from: `${cc0}94` },
  teddy: { from: `${cc0}51`, tint: /teddy/ },
  snowman: { from: `${by}72`, paint: { "Material.001": [0.97, 0.97, 0.97] } },
  "rocking horse": { from: `${cc0}8`, quarters: 1 },
  // People
  man: { from: `${people}4` },
  "sitting man": { from: `${people}11` },
  "lying man": { from: `${people}14` },
  woman: { from: `${people}1` },
  "sitting woman": { from: `${people}15` },
  "lying woman": { from: `${people}12` },
  boy: { from: `${people}22` },
  girl: { from: `${people}25` },
  // Vehicles
  car: { from: `${scopia}250`, tint: /^firstcolor/ },
  beetle: { from: `${kator}69`, tint: /yellow/ },
  van: { from: `${scopia}251`, tint: /^firstcolor/ },
  bus: { from: `${scopia}361`, tint: /whiteBase/ },
  truck: { from: `${scopia}212`, tint: /red-cabin/, paint: { "white-container": [0.85, 0.85, 0.85] } },
  motorbike: { from: `${scopia}173`, tint: /^tap/ },
  scooter: { from: `${kator}66`, tint: /^Yellow/ },
  bicycle: { from: `${by}88`, tint: /Material\.001/ },
  tricycle: { from: `${scopia}189`, tint: /green-plastic/ },
  forklift: { from: `${cc0}119`, tint: /^yellow/, quarters: 1 },
  rowboat: { from: `${by}133`, tint: /green_trim/ },
  biplane: { from: `${cc0}10` },
  "toy train": { from: `${by}106`, quarters: 1 },
  wheelbarrow: { from: `${cc0}138`, tint: /Barrow/, quarters: 1 },
  // Furniture
  chair: { from: `${by}18`, tint: /Child_chair/, attach: { top: [0, 0.48, 0.1] } },
  "wooden chair": { from: `${cc0}26` },
  stool: { from: `${by}28`, tint: /Material\.001/, attach: { top: [0, 1, 0] } },
  armchair: { from: `${cc0}139`, tint: /Buttons|Surround|Sit|Back/ },
  sofa: { from: `${cc0}132`, tint: /Fabric/ },
  bed: { from: `${by}77`, tint: /couch|^bed/ },
  "round table": { from: `${cc0}27`, attach: { top: [0, 1, 0] } },
  table: { from: `${scopia}39`, attach: { top: [0, 1, 0] } },
  bench: { from: `${cc0}103`, tint: /green/ },
  "deck chair": { from: `${cc0}65` },
  lamp: { from: `${scopia}65`, tint: /lampshade/ },
  piano: { from: `${cc0}30` },
  guitar: { from: `${cc0}76`, tint: /Body/ },
  tv: { from: `${cc0}22` },
  laptop: { from: `${by}99` },
  // Clothes and bags
  cap: { from: `${scopia}237`, tint: /firstcolor|visor|button/ },
  hat: { from: `${scopia}238`, tint: /firstcolor/ },
  helmet: { from: `${scopia}239`, tint: /firstcolor/ },
  backpack: { from: `${by}2`, tint: /Material/ },
  handbag: { from: `${cc0}120`, tint: /Color$/ },
  suitcase: { from: `${by}103`, tint: /Coque/ },
  umbrella: { from: `${cc0}80`, tint: /fabric|trim/ },
  parasol: { from: `${cc0}60` },
  // Food and kitchen
  cake: { from: `${scopia}128` },
  cupcake: { from: `${cc0}142` },
  hamburger: { from: `${by}96` },
  apples: { from: `${scopia}70` },
  mug: { from: `${kator}28`, tint: /White/ },
  teapot: { from: `${scopia}123`, tint: /./ },
  kettle: { from: `${by}8`, tint: /Kettle-red/ },
  // Things
  ball: { from: `${by}71` },
  basketball: { from: `${cc0}78` },
  gift: { from: `${by}26`, tint: /^Material(\.003)?$/ },
  box: { from: `${scopia}174` },
  "open box": { from: `${scopia}180`, attach: { inside: [0, 0.06, 0] } },
  crate: { from: `${cc0}73` },
  barrel: { from: `${cc0}72` },
  cone: { from: `${scopia}262` },
  hydrant: { from: `${kator}79`, tint: /PAINT/ },
  mailbox: { from: `${cc0}25`, tint: /Metal/ },
  tent: { from: `${scopia}357`, tint: /exteriorTent/ },
  "dog house": { from: `${scopia}178` },
  extinguisher: { from: `${cc0}82` },
  fan: { from: `${cc0}47`, tint: /BODY|FAN_BLADE/ },
  cube: { from: `${by}69` },
  // Plants
  cactus: { from: `${cc0}107` },
  tulips: { from: `${by}108` },
  houseplant: { from: `${scopia}36` },
  pine: { from: `${scopia}382` },
  "snowy pine": { from: `${scopia}354` },
  "christmas tree": { from: `${scopia}130` },
};

/** Of this world's own making: a board on two posts. */
export const signName = "sign";

export const panoramas: Record<string, PanoramaChoice> = {
  park: { source: "park", indoor: false, turns: [] },
  city: { source: "city", indoor: false, turns: [] },
  room: { source: "apartment", indoor: true, turns: [] },
  field: { source: "sunrise", indoor: false, turns: [] },
  forest: { source: "forest", indoor: false, turns: [] },
  hall: { source: "hall", indoor: true, turns: [] },
  lobby: { source: "lobby", indoor: true, turns: [] },
  square: { source: "sunset", indoor: false, turns: [] },
  harbour: { source: "venice", indoor: false, turns: [] },
  warehouse: { source: "warehouse", indoor: true, turns: [] },
  workshop: { source: "workshop", indoor: true, turns: [] },
  desert: { source: "dawn", indoor: false, turns: [] },
  savanna: { source: "night", indoor: false, turns: [] },
  mall: { source: "esplanade", indoor: true, turns: [] },
};
