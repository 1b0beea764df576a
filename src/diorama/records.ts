/** @file A scene as a line of `scenes.jsonl`: what is in the picture, where, and what is asked of it. */

import type { Captions } from "./captions.js";
import { type UnseenRule, unseenIn } from "./combinations.js";
import type { Example, TwinExample } from "./examples.js";
import type { Colour, Facing, Noun, Pattern, Place, Relation, SignWord, State, View } from "./lexicon.js";
import type { Question } from "./questions.js";
import { type Scene, type Split, shown } from "./scene.js";
import type { Rendering } from "./stage.js";

export interface ObjectRecord {
  noun: Noun | "hat";
  colour?: Colour;
  facing?: Facing;
  state?: State;
  hat?: boolean;
  says?: SignWord;
  /** Left, top (included), right, bottom (excluded) of what is seen, in pixels of the picture. */
  box: readonly [number, number, number, number];
  /** Area that is seen, in pixels. */
  pixels: number;
  /** Share of it that is not hidden by others. */
  seen: number;
}

export interface QuestionRecord {
  pattern: Pattern;
  question: string;
  options: readonly [string, string];
  answer: 0 | 1;
}

export interface SceneRecord {
  image: string;
  /** Picture of numbers: 0 background, i + 1 the object i. */
  mask?: string;
  captions: Captions;
  objects: ObjectRecord[];
  questions: QuestionRecord[];
  /** What the scene was made to ask. */
  pattern: Pattern;
  split: Split;
  place: Place;
  view?: View;
  /** Of the first object to the second. */
  relation?: Relation;
  count?: number;
  /** Rules of combinations that training never shows, which this picture breaks. */
  unseen?: UnseenRule[];
  /** Twins have the same number. */
  pair?: number;
}

/** Names of the files that belong to a line. */
export interface RecordFiles {
  image: string;
  mask?: string;
}

/** The line of an ordinary scene. */
export function sceneRecord(
  { scene, rendering, captions, questions }: Example,
  files: RecordFiles,
): SceneRecord {
  return line(scene, rendering, captions, questions, files);
}

/** The two lines of twins: the same question, the one answer and the other. */
export function twinRecords(
  { scenes, renderings, captions, question, answers }: TwinExample,
  files: readonly [RecordFiles, RecordFiles],
  pair: number,
): [SceneRecord, SceneRecord] {
  const of = (i: 0 | 1): SceneRecord => ({
    ...line(scenes[i], renderings[i], captions[i], [{ ...question, answer: answers[i] }], files[i]),
    pair,
  });
  return [of(0), of(1)];
}

function line(
  scene: Scene,
  { visible }: Rendering,
  captions: Captions,
  questions: readonly Question[],
  { image, mask }: RecordFiles,
): SceneRecord {
  const { pattern, split, place, view, relation, count } = scene;
  const things: Partial<ObjectRecord>[] = shown(scene).map(({ noun, colour, facing, state, hat, says }) => ({
    noun,
    ...(colour && { colour }),
    ...(facing && { facing }),
    ...(state && { state }),
    ...(hat !== undefined && { hat }),
    ...(says && { says }),
  }));
  const unseen = unseenIn(scene);
  return {
    image,
    ...(mask !== undefined && { mask }),
    captions,
    objects: visible.map(({ box, pixels, unoccluded }, i) => ({
      noun: "hat",
      ...things[i],
      box,
      pixels,
      seen: unoccluded > 0 ? Math.round((1000 * pixels) / unoccluded) / 1000 : 0,
    })),
    questions: questions.map(({ pattern, question, options, answer }) => ({
      pattern,
      question,
      options,
      answer,
    })),
    pattern,
    split,
    place,
    ...(view && { view }),
    ...(relation && { relation }),
    ...(count !== undefined && { count }),
    ...(unseen.length > 0 && { unseen }),
  };
}
