/** @file Twins: the same scene twice with one fact changed, so that one question has the one answer here, the other there. */

import { plainThing } from "./draw.js";
import {
  colourNames,
  facings,
  type Noun,
  nounNames,
  nouns,
  numbers,
  opposite,
  placeNames,
  relations,
  signWords,
  states,
  views,
} from "./lexicon.js";
import { mainQuestion, type Question } from "./questions.js";
import { Random } from "./random.js";
import type { Scene, Thing } from "./scene.js";

export interface TwinScenes {
  /** The scene itself, and the scene in which the other option is right. */
  scenes: readonly [Scene, Scene];
  question: Question;
  /** The right option in the one, in the other. */
  answers: readonly [0 | 1, 0 | 1];
}

/** The scene's twin for the pattern that it was made for. */
export function twins(scene: Scene): TwinScenes {
  const question = mainQuestion(scene);
  const { answer } = question;
  const wrong = question.options[1 - answer]!;
  const twin = { ...structuredClone(scene), ...changes[scene.pattern](structuredClone(scene), wrong) };
  return { scenes: [scene, twin], question, answers: [answer, (1 - answer) as 0 | 1] };
}

/** What changes for `wrong` to become right. */
const changes: Record<Scene["pattern"], (scene: Scene, wrong: string) => Partial<Scene>> = {
  orientation: ({ things, asked }) =>
    change(things, asked, ({ facing, yaw }) => {
      const turned = opposite[facing!];
      return { facing: turned, yaw: (yaw + facings[turned].yaw - facings[facing!].yaw + 4096) % 4096 };
    }),
  presence: ({ things, extra }) =>
    extra === undefined ? change(things, 0, ({ hat }) => ({ hat: !hat })) : { extra: !extra },
  state: ({ things }) => change(things, 0, ({ state }) => ({ state: states[state!].other })),
  count: (_, wrong) => ({ count: (numbers as readonly string[]).indexOf(wrong) + 1 }),
  relation({ things, relation, layout }) {
    const inverse = relations[relation!].other;
    if (layout === "table" || layout === "box") return { relation: inverse };
    // They change places; each keeps its own looks, and at another depth the other's share of the room.
    const [first, second] = things as [Thing, Thing];
    const share = (own: Thing, theirs: Thing) => Math.round((own.size * far(theirs)) / far(own));
    const far = ({ z }: Thing) => (layout === "depth" && z > 0 ? 80 : 100);
    return {
      relation: inverse,
      things: [
        { ...first, x: second.x, z: second.z, size: share(first, second) },
        { ...second, x: first.x, z: first.z, size: share(second, first) },
      ],
    };
  },
  colour({ things, asked }, wrong) {
    const [first, second] = things as [Thing, Thing?];
    if (second)
      return {
        things: [
          { ...first, colour: second.colour! },
          { ...second, colour: first.colour! },
        ],
      };
    return change(things, asked, () => ({ colour: colourNames.find((name) => name === wrong)! }));
  },
  structure: ({ things }, wrong) =>
    change(things, 0, ({ noun, size, state }) => {
      if (state) return { state: states[state].other };
      const share = (nouns[nounIn(wrong)].size ?? 100) / (nouns[noun].size ?? 100);
      return { noun: nounIn(wrong), size: Math.round(size * share) };
    }),
  text: ({ things }, wrong) => change(things, 0, () => ({ says: signWords.find((word) => word === wrong)! })),
  viewpoint: ({ view }) => ({ view: views[view!].other }),
  object: ({ things, wording }, wrong) => ({
    things: things.map(({ x, z }) => ({ ...plainThing(new Random(wording, 5), nounIn(wrong)), x, z })),
  }),
  place: (_, wrong) => ({ place: placeNames.find((name) => `in the ${name}` === wrong)! }),
};

/** The noun of "a dog". */
function nounIn(words: string): Noun {
  return nounNames.find((name) => name === words.split(" ").at(-1))!;
}

function change(things: Thing[], index: number, by: (thing: Thing) => Partial<Thing>): { things: Thing[] } {
  return { things: things.map((thing, i) => (i === index ? { ...thing, ...by(thing) } : thing)) };
}
