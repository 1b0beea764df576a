/** @file What is said of a scene: loosely, as most captions are, and in full. */

import { a, facings, numbers, plural, relations, views } from "./lexicon.js";
import { Random } from "./random.js";
import { type Scene, shown, type Thing } from "./scene.js";

export interface Captions {
  /** What is there: nouns, the place, now and then a colour or a hat. */
  loose: string;
  /** Every fact that questions ask for: number, colour, facing, state, relation, viewpoint, what a sign says. */
  full: string;
}

/** At most 30 words each. */
export function captions(scene: Scene): Captions {
  return { loose: loose(scene), full: full(scene) };
}

function full(scene: Scene): string {
  const { things, relation, count, extra, view, place } = scene;
  const [first, second] = things as [Thing, Thing?];
  const where = `in the ${place}`;
  if (count !== undefined) return `${numbers[count - 1]} ${painted(first, count > 1)} ${where}`;
  if (extra !== undefined)
    return `${described(first)} and ${extra ? described(second!) : `no ${second!.noun}`} ${where}`;
  if (relation) return `${described(first)} ${relations[relation].words} ${described(second!)} ${where}`;
  return `${described(first)}${view ? ` seen ${views[view].words}` : ""} ${where}`;
}

function loose(scene: Scene): string {
  const random = new Random(scene.wording, 1);
  const where = `in the ${scene.place}`;
  const withColour = random.chance(50);
  const withHat = random.chance(50);
  const turned = random.chance(50);
  if (scene.count !== undefined) return `${plural(scene.things[0]!.noun)} ${where}`;
  const names = shown(scene).map((thing) => {
    const name = a(withColour ? painted(thing) : thing.noun);
    return thing.hat && withHat ? `${name} with a hat` : name;
  });
  return `${(turned ? names.reverse() : names).join(" and ")} ${where}`;
}

/** "red chair", "red chairs". */
function painted({ noun, colour }: Thing, many = false): string {
  const name = many ? plural(noun) : noun;
  return colour ? `${colour} ${name}` : name;
}

/** "a fallen red chair", "a dog with no hat facing left". */
function described(thing: Thing): string {
  const { state, facing, hat, says } = thing;
  return [
    a(state ? `${state} ${painted(thing)}` : painted(thing)),
    ...(says ? [`that says ${says}`] : []),
    ...(hat === undefined ? [] : [hat ? "with a hat" : "with no hat"]),
    ...(facing ? [`facing ${facings[facing].words}`] : []),
  ].join(" ");
}
