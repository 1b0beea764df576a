/** @file What the world is made of, and the words for it: one word for one thing, everywhere. */

import type { Vector } from "./stage.js";

/** Directions that are asked against each other. */
export type Axis = "side" | "front";

export const facings = {
  left: { axis: "side", words: "left", yaw: 3072 },
  right: { axis: "side", words: "right", yaw: 1024 },
  camera: { axis: "front", words: "the camera", yaw: 0 },
  away: { axis: "front", words: "away", yaw: 2048 },
} as const satisfies Record<string, { axis: Axis; words: string; yaw: number }>;

export type Facing = keyof typeof facings;

export const opposite = { left: "right", right: "left", camera: "away", away: "camera" } as const;

/** Linear reflectances, apart from one another in every light of the world. */
export const colours = {
  red: [0.62, 0.02, 0.02],
  yellow: [0.85, 0.58, 0.01],
  green: [0.02, 0.3, 0.04],
  blue: [0.02, 0.07, 0.62],
  pink: [0.8, 0.16, 0.28],
  black: [0.026, 0.026, 0.028],
  white: [0.8, 0.8, 0.8],
} as const satisfies Record<string, Vector>;

export type Colour = keyof typeof colours;

export type State = "upright" | "fallen" | "closed" | "open" | "standing" | "sitting" | "round" | "square";

/** Pairs of states that one noun can be in; `fallen` lays the same mesh on its side, `mesh` is another one. */
export const states: Readonly<Record<State, { other: State; fallen?: true; mesh?: string; scale?: number }>> =
  {
    upright: { other: "fallen" },
    fallen: { other: "upright", fallen: true },
    closed: { other: "open" },
    open: { other: "closed", mesh: "open box" },
    standing: { other: "sitting" },
    sitting: { other: "standing", mesh: "sitting man", scale: 1.3 },
    round: { other: "square", mesh: "round table" },
    square: { other: "round" },
  };

interface NounInfo {
  /** Its mesh, when that is not called like the noun. */
  mesh?: string;
  plural?: string;
  /** Percent of the room that it is given in a picture; 100 unless told. */
  size?: number;
  /** Whether it is painted in one of the colours. */
  painted?: true;
  /** Directions that show plainly at 64 pixels: only of these its facing is told and asked. */
  axes?: readonly Axis[];
  /** Along which it is turned where its facing is not told, to be known at a glance. */
  shows?: Axis;
  states?: readonly [State, State];
  /** Ways to be built, asked as structure. */
  builds?: readonly [State, State];
  /** The crown of a head that can wear a hat: shares of its depth, before the middle, and of its height. */
  head?: readonly [forward: number, up: number];
  /** Small enough to stand on a table, under it, or in a box. */
  small?: true;
  /** Whether several of it stand together in a picture. */
  many?: true;
}

const both = ["side", "front"] as const;
const side = ["side"] as const;
const front = ["front"] as const;
const falls = ["upright", "fallen"] as const;

const nounTable = {
  dog: { axes: both, head: [0.3, 0.9], many: true },
  cat: { axes: both, head: [0.38, 0.95], many: true },
  horse: { axes: both, head: [0.42, 0.97], many: true, size: 110 },
  rabbit: { axes: side, shows: "side", many: true, size: 95 },
  hen: { axes: side, head: [0.2, 0.98], shows: "front", many: true, size: 95 },
  teddy: { plural: "teddies", axes: front, head: [0, 0.97], small: true, many: true, size: 95 },
  snowman: { plural: "snowmen", shows: "front", states: falls, many: true },
  man: {
    plural: "men",
    states: ["standing", "sitting"],
    head: [0, 0.97],
    shows: "front",
    many: true,
    size: 108,
  },
  car: { axes: side, shows: "side", painted: true, size: 110 },
  van: { axes: both, painted: true, size: 105 },
  truck: { axes: both, size: 105 },
  bus: { plural: "buses", shows: "side", size: 112 },
  motorbike: { axes: side, shows: "side", painted: true, size: 105 },
  bicycle: { shows: "side", painted: true, size: 105 },
  tricycle: { axes: side, shows: "side", painted: true },
  plane: { mesh: "biplane", axes: side, shows: "side", size: 115 },
  chair: { axes: side, painted: true, states: falls, many: true },
  stool: { painted: true, states: falls, many: true, size: 85 },
  armchair: { axes: front, shows: "front", painted: true },
  sofa: { axes: front, shows: "front", painted: true, size: 105 },
  bed: { shows: "side", painted: true },
  table: { shows: "front", builds: ["round", "square"], size: 106 },
  lamp: { painted: true, states: falls, many: true },
  mug: { shows: "side", painted: true, small: true, many: true, size: 85 },
  kettle: { shows: "front", painted: true, small: true, many: true, size: 85 },
  cake: { small: true, many: true, size: 115 },
  hamburger: { small: true, many: true, size: 75 },
  ball: { small: true, many: true, size: 70 },
  box: { plural: "boxes", shows: "front", states: ["closed", "open"], many: true, size: 72 },
  barrel: { states: falls, many: true, size: 85 },
  gift: { small: true, many: true, size: 75 },
  backpack: { shows: "front", painted: true, many: true, size: 85 },
  cactus: { plural: "cactuses", states: falls, small: true, many: true, size: 90 },
  cone: { states: falls, small: true, many: true, size: 85 },
  tent: { axes: front, shows: "front", painted: true },
  sign: { size: 110 },
} as const satisfies Record<string, NounInfo>;

export type Noun = keyof typeof nounTable;

export const nouns: Readonly<Record<Noun, NounInfo>> = nounTable;

/** What the sign says: short words of plain shapes. */
export const signWords = ["stop", "exit", "taxi", "cafe", "sale", "zoo"] as const;

export type SignWord = (typeof signWords)[number];

/** Nouns that look alike and differ in build: each is asked against the other. */
export const families = [
  ["chair", "stool"],
  ["armchair", "sofa"],
  ["car", "van"],
  ["bus", "truck"],
  ["bicycle", "tricycle"],
] as const satisfies readonly (readonly [Noun, Noun])[];

/** Places: a photographic panorama, and two turns of it (in steps of 1/4096) before which there is free floor. */
export const places = {
  park: { panorama: "park", turns: [256, 2048] },
  city: { panorama: "city", turns: [256, 3584] },
  room: { panorama: "room", turns: [3328, 3840] },
  field: { panorama: "field", turns: [1280, 3584] },
  forest: { panorama: "forest", turns: [1536, 3584] },
  hall: { panorama: "hall", turns: [0, 1024] },
  lobby: { panorama: "lobby", turns: [2560, 2816] },
  square: { panorama: "square", turns: [512, 1280] },
  street: { panorama: "harbour", turns: [512, 768] },
  desert: { panorama: "desert", turns: [0, 512] },
} as const satisfies Record<string, { panorama: string; turns: readonly [number, number] }>;

export type Place = keyof typeof places;

/** How a picture is taken, where it is asked; left out elsewhere. */
export const views = {
  above: { words: "from above", other: "side" },
  side: { words: "from the side", other: "above" },
  near: { words: "from near", other: "far" },
  far: { words: "from far", other: "near" },
} as const;

export type View = keyof typeof views;

/** The first thing stands so with respect to the second. */
export const relations = {
  left: { words: "to the left of", other: "right" },
  right: { words: "to the right of", other: "left" },
  front: { words: "in front of", other: "behind" },
  behind: { words: "behind", other: "front" },
  on: { words: "on", other: "under" },
  under: { words: "under", other: "on" },
  in: { words: "in", other: "beside" },
  beside: { words: "next to", other: "in" },
} as const;

export type Relation = keyof typeof relations;

export const numbers = ["one", "two", "three", "four"] as const;

/** MMVP's nine patterns, then two controls that any encoder should answer. */
export const patterns = [
  "orientation",
  "presence",
  "state",
  "count",
  "relation",
  "colour",
  "structure",
  "text",
  "viewpoint",
  "object",
  "place",
] as const;

export type Pattern = (typeof patterns)[number];

export const nounNames = Object.keys(nounTable) as Noun[];
export const colourNames = Object.keys(colours) as Colour[];
export const placeNames = Object.keys(places) as Place[];

export function plural(noun: Noun): string {
  return nouns[noun].plural ?? `${noun}s`;
}

/** "a dog", "an armchair". */
export function a(words: string): string {
  return `${/^[aeiou]/.test(words) ? "an" : "a"} ${words}`;
}

/** Words of captions, questions and answers that are not in the tables above. */
const grammar =
  "a an and are away does facing have hat how in is it many no of or picture say says seen sign that the there this to " +
  "way what where which with color camera";

/** Every word of every caption, question and answer, and the question mark: all that a tokenizer must know. */
export const vocabulary: readonly string[] = [
  ...new Set(
    [
      grammar,
      ...nounNames,
      ...nounNames.filter((noun) => nouns[noun].many).map(plural),
      ...colourNames,
      ...Object.keys(states),
      ...signWords,
      ...placeNames,
      ...numbers,
      ...[facings, views, relations].flatMap((table) => Object.values(table).map(({ words }) => words)),
      "?",
    ].flatMap((words) => words.split(" ")),
  ),
].sort();
