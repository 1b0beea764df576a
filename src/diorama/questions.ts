/** @file Questions with two options, as MMVP asks them: right by construction, and even in what their words give away. */

import { seenColours, seenCounts, unseenColour, unseenCount } from "./combinations.js";
import {
  a,
  facings,
  families,
  nounNames,
  nouns,
  numbers,
  opposite,
  type Pattern,
  patterns,
  placeNames,
  plural,
  relations,
  signWords,
  states,
  views,
} from "./lexicon.js";
import { Random } from "./random.js";
import { type Scene, shown, type Thing } from "./scene.js";

export interface Question {
  pattern: Pattern;
  question: string;
  options: readonly [string, string];
  /** Which option is right. */
  answer: 0 | 1;
  /** Indices into the scene's things of those that must be seen for the question to be fair. */
  about: readonly number[];
}

/** A question before its options are put in an order: the right one and the wrong one. */
interface Asked {
  question: string;
  right: string;
  wrong: string;
  about: readonly number[];
}

/** All that is asked of a scene: first what it was made for, then what else can be seen in it. */
export function questions(scene: Scene): Question[] {
  const asked: [Pattern, Asked][] = [[scene.pattern, askers[scene.pattern](scene, scene.asked)]];
  const { things, pattern, layout, view } = scene;
  const random = new Random(scene.wording, 2);
  const colourOf = random.pick([...shown(scene).keys()]);
  const placeToo = random.chance(25);
  if (pattern !== "orientation" && (layout === "single" || layout === "beside") && !view) {
    const turned = things.findIndex(({ facing }) => facing);
    if (turned >= 0) asked.push(["orientation", askers.orientation(scene, turned)]);
  }
  if (pattern !== "relation" && scene.relation) asked.push(["relation", askers.relation(scene, 0)]);
  if (pattern !== "colour" && things[colourOf]!.colour)
    asked.push(["colour", askers.colour(scene, colourOf)]);
  if (placeToo && pattern !== "place") asked.push(["place", askers.place(scene, 0)]);
  return asked.map(([name, question]) => inAnyOrder(name, question, scene.wording));
}

/** The question that the scene was made for. */
export function mainQuestion(scene: Scene): Question {
  return inAnyOrder(scene.pattern, askers[scene.pattern](scene, scene.asked), scene.wording);
}

function inAnyOrder(pattern: Pattern, { question, right, wrong, about }: Asked, wording: number): Question {
  const answer = new Random(wording, 3, patterns.indexOf(pattern)).below(2) as 0 | 1;
  return { pattern, question, options: answer === 0 ? [right, wrong] : [wrong, right], answer, about };
}

/** A wrong answer, drawn uniformly and independently of everything but the right one. */
function other<T>(list: readonly T[], right: T, scene: Scene, key: number): T {
  return new Random(scene.wording, 4, key).pick(list.filter((value) => value !== right));
}

const askers: Record<Pattern, (scene: Scene, index: number) => Asked> = {
  orientation({ things }, index) {
    const { noun, facing } = things[index]!;
    return {
      question: `which way is the ${noun} facing?`,
      right: facings[facing!].words,
      wrong: facings[opposite[facing!]].words,
      about: [index],
    };
  },
  presence({ things, extra }) {
    const [thing, added] = things as [Thing, Thing?];
    const [there, name] = added ? [extra!, added.noun] : [thing.hat!, "hat"];
    const [right, wrong] = there ? [a(name), `no ${name}`] : [`no ${name}`, a(name)];
    const question = added ? `is there ${a(name)}?` : `does the ${thing.noun} have a hat?`;
    return { question, right, wrong, about: added && there ? [0, 1] : [0] };
  },
  state({ things }) {
    const { noun, state } = things[0]!;
    const [one, two] = nouns[noun].states!;
    const question = `is the ${noun} ${one} or ${two}?`;
    return { question, right: state!, wrong: states[state!].other, about: [0] };
  },
  count(scene) {
    const { things, count, split } = scene;
    const { noun } = things[0]!;
    const held = split === "unseen" ? unseenCount(noun) : undefined;
    const wrong = held !== undefined && count !== held ? held : other(seenCounts(noun), count!, scene, 0);
    return {
      question: `how many ${plural(noun)} are there?`,
      right: numbers[count! - 1]!,
      wrong: numbers[wrong - 1]!,
      about: Array.from({ length: count! }, (_, i) => i),
    };
  },
  relation({ things, relation }) {
    const [first, second] = things as [Thing, Thing];
    const { words, other: inverse } = relations[relation!];
    return {
      question: `where is the ${first.noun}?`,
      right: `${words} the ${second.noun}`,
      wrong: `${relations[inverse].words} the ${second.noun}`,
      about: [0, 1],
    };
  },
  colour(scene, index) {
    const { noun, colour } = scene.things[index]!;
    // Made for it, a pair asks which of its two colours is whose.
    const twoColours = scene.pattern === "colour" && scene.things.length === 2;
    const held = unseenColour(noun);
    const fresh = scene.split === "unseen" && scene.pattern === "colour" && colour !== held;
    const wrong = twoColours
      ? scene.things[1 - index]!.colour!
      : fresh
        ? held
        : other(seenColours(noun), colour!, scene, 1);
    return { question: `what color is the ${noun}?`, right: colour!, wrong, about: [index] };
  },
  structure({ things }) {
    const { noun, state } = things[0]!;
    const { builds } = nouns[noun];
    if (builds) {
      const question = `is the ${noun} ${builds[0]} or ${builds[1]}?`;
      return { question, right: state!, wrong: states[state!].other, about: [0] };
    }
    const family = families.find((names) => (names as readonly string[]).includes(noun))!;
    const [one, two] = family;
    const question = `is it ${a(one)} or ${a(two)}?`;
    return { question, right: a(noun), wrong: a(noun === one ? two : one), about: [0] };
  },
  text(scene) {
    const { says } = scene.things[0]!;
    return {
      question: "what does the sign say?",
      right: says!,
      wrong: other(signWords, says!, scene, 2),
      about: [0],
    };
  },
  viewpoint({ things, view }) {
    const { words, other: inverse } = views[view!];
    return {
      question: `how is the ${things[0]!.noun} seen?`,
      right: words,
      wrong: views[inverse].words,
      about: [0],
    };
  },
  object(scene) {
    const { noun } = scene.things[0]!;
    const list = nounNames.filter((name) => name !== "sign");
    return {
      question: "what is in the picture?",
      right: a(noun),
      wrong: a(other(list, noun, scene, 3)),
      about: [0],
    };
  },
  place(scene) {
    const wrong = other(placeNames, scene.place, scene, 4);
    return {
      question: "where is this?",
      right: `in the ${scene.place}`,
      wrong: `in the ${wrong}`,
      about: [],
    };
  },
};
