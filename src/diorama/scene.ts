/** @file What a scene is: plain data that says which things stand where, and what is true of them. */

import type { Colour, Facing, Noun, Pattern, Place, Relation, SignWord, State, View } from "./lexicon.js";

export interface Thing {
  noun: Noun;
  colour?: Colour;
  /** Where its front points, when that is a fact of the scene. */
  facing?: Facing;
  state?: State;
  /** Whether it wears a hat, when that is a fact of the scene. */
  hat?: boolean;
  /** The word on a sign. */
  says?: SignWord;
  /** Right of the middle and toward the camera, in millimetres of the picture's own world. */
  x: number;
  z: number;
  /** What its base stands on, when that is not the ground. */
  on?: "table" | "box";
  /** Steps of 1/4096 turn about the vertical. */
  yaw: number;
  /** Thousandths of the room that a thing alone may take in the picture. */
  size: number;
}

/** How the things stand; it also decides where the camera is. */
export type Layout = "single" | "beside" | "depth" | "table" | "box" | "many" | "extra";

export interface Scene {
  /** What the scene was made to ask. */
  pattern: Pattern;
  layout: Layout;
  place: Place;
  /** Which of the place's two turns. */
  turn: 0 | 1;
  view?: View;
  /** In the order of the caption; of the layout `many`, four, of which `count` are there. */
  things: Thing[];
  /** Which thing the pattern asks about. */
  asked: number;
  /** Of the first thing to the second. */
  relation?: Relation;
  count?: number;
  /** Of the layout `extra`: whether the second thing is there. */
  extra?: boolean;
  /** Seed of what captions and questions leave open: what is mentioned, in which order, which wrong answer. */
  wording: number;
  /** Rules that were held out of training apply to this scene's draw. */
  split: Split;
}

/**
 * `train`, `validation` and `test` hold the same combinations in scenes of their own; `unseen` asks about combinations
 * that none of them ever shows.
 */
export const splits = ["train", "validation", "test", "unseen"] as const;

export type Split = (typeof splits)[number];

/** The things that are in the picture. */
export function shown({ layout, things, count, extra }: Scene): Thing[] {
  if (layout === "many") return things.slice(0, count);
  return layout === "extra" && !extra ? things.slice(0, 1) : things;
}
