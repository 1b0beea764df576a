/** @file Combinations that training never shows, so that a test can tell learning from remembering. */

import {
  type Axis,
  type Colour,
  colourNames,
  facings,
  type Noun,
  nounNames,
  nouns,
  type State,
} from "./lexicon.js";
import { type Scene, shown } from "./scene.js";

/**
 * Each rule takes both answers of a question away together, or an answer that training is never offered: what is left
 * stays balanced.
 */
export const unseen = {
  /** Directions of which a noun is never seen in training. */
  facing: { cat: "side", hen: "side", horse: "front", truck: "front" },
  /** Nouns that training never shows fallen or asks about. */
  state: ["barrel", "lamp"],
  /** Nouns whose head training never shows with a hat, or asks about. */
  hat: ["hen", "teddy"],
} as const satisfies { facing: Partial<Record<Noun, Axis>>; state: readonly Noun[]; hat: readonly Noun[] };

const painted = nounNames.filter((noun) => nouns[noun].painted);
const many = nounNames.filter((noun) => nouns[noun].many);

/** The one colour that a painted noun never has in training. */
export function unseenColour(noun: Noun): Colour {
  return colourNames[(3 * painted.indexOf(noun)) % colourNames.length]!;
}

/** The number, 1 to 4, of which every second noun is never seen in training. */
export function unseenCount(noun: Noun): number | undefined {
  const index = many.indexOf(noun);
  return index % 2 === 0 ? 1 + ((index / 2) % 4) : undefined;
}

/** Whether training never shows these two together. */
export function unseenPair(one: Noun, other: Noun): boolean {
  const [i, j] = [nounNames.indexOf(one), nounNames.indexOf(other)];
  return (i * j + i + j) % 7 === 3;
}

export function seenColours(noun: Noun): Colour[] {
  return colourNames.filter((colour) => colour !== unseenColour(noun));
}

export function seenCounts(noun: Noun): number[] {
  return [1, 2, 3, 4].filter((count) => count !== unseenCount(noun));
}

export function seenAxes(noun: Noun): Axis[] {
  const held: Partial<Record<Noun, Axis>> = unseen.facing;
  return (nouns[noun].axes ?? []).filter((axis) => axis !== held[noun]);
}

export function asksState(noun: Noun): readonly [State, State] | undefined {
  return (unseen.state as readonly Noun[]).includes(noun) ? undefined : nouns[noun].states;
}

export type UnseenRule = "facing" | "state" | "hat" | "colour" | "count" | "pair";

/** The rules that the picture itself breaks: none for every scene outside the split `unseen`. */
export function unseenIn(scene: Scene): UnseenRule[] {
  const things = shown(scene);
  const broken: [UnseenRule, boolean][] = [
    ["facing", things.some(({ noun, facing }) => facing && !seenAxes(noun).includes(facings[facing].axis))],
    ["state", things.some(({ noun, state }) => state && (unseen.state as readonly Noun[]).includes(noun))],
    [
      "hat",
      things.some(({ noun, hat }) => hat !== undefined && (unseen.hat as readonly Noun[]).includes(noun)),
    ],
    ["colour", things.some(({ noun, colour }) => colour && colour === unseenColour(noun))],
    ["count", scene.count !== undefined && scene.count === unseenCount(scene.things[0]!.noun)],
    ["pair", things.length === 2 && scene.layout !== "many" && unseenPair(things[0]!.noun, things[1]!.noun)],
  ];
  return broken.filter(([, holds]) => holds).map(([rule]) => rule);
}
