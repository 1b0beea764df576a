/** @file The grammar: draws a scene for a pattern so that, given a question's words, both answers are as likely. */

import { misuse } from "../tensor/index.js";
import {
  asksState,
  seenAxes,
  seenColours,
  seenCounts,
  unseen,
  unseenColour,
  unseenCount,
  unseenPair,
} from "./combinations.js";
import {
  type Axis,
  type Colour,
  type Facing,
  facings,
  families,
  type Noun,
  nounNames,
  nouns,
  type Pattern,
  placeNames,
  type Relation,
  signWords,
  type View,
} from "./lexicon.js";
import type { Random } from "./random.js";
import type { Layout, Scene, Split, Thing } from "./scene.js";

export interface DrawOptions {
  /** `train` unless told. */
  split?: Split;
  /** What the scene is made to ask; drawn by `patternShares` unless told. */
  pattern?: Pattern;
}

/** Of 100 scenes of a split so many are made for each pattern; `place` is asked beside others. */
export const patternShares = {
  orientation: 24,
  relation: 20,
  count: 13,
  colour: 11,
  state: 10,
  presence: 8,
  viewpoint: 5,
  structure: 4,
  text: 3,
  object: 2,
} as const satisfies Partial<Record<Pattern, number>>;

/** The same for the split `unseen`, of the patterns that have unseen combinations. */
export const unseenShares = {
  orientation: 25,
  relation: 25,
  count: 15,
  colour: 15,
  state: 10,
  presence: 10,
} as const satisfies Partial<Record<Pattern, number>>;

/**
 * Draws a scene. Facts that are asked are drawn uniformly from those that the split allows, independent of all that the
 * question names; so a wrong answer drawn uniformly from the others makes both answers equally likely.
 * @throws misuse PATTERN when the split `unseen` holds no combination of the pattern
 */
export function drawScene(random: Random, { split = "train", pattern }: DrawOptions = {}): Scene {
  const shares: Partial<Record<Pattern, number>> = split === "unseen" ? unseenShares : patternShares;
  if (split === "unseen" && pattern !== undefined && shares[pattern] === undefined) {
    const allowed = Object.keys(unseenShares).join(", ");
    throw misuse("PATTERN", `The split unseen asks about ${allowed}, not about ${pattern}.`);
  }
  const chosen = pattern ?? random.weighted(shares);
  const scene: Scene = {
    pattern: chosen,
    layout: "single",
    place: random.pick(placeNames),
    turn: random.pick([0, 1] as const),
    things: [],
    asked: 0,
    wording: random.next(),
    split,
  };
  return { ...scene, ...draws[chosen](random, split === "unseen") };
}

type Drawn = Partial<Scene> & { things: Thing[] };

const all = nounNames.filter((noun) => noun !== "sign");
/** What can stand in one line with another thing. */
const pairable = all.filter((noun) => noun !== "table");
const painted = pairable.filter((noun) => nouns[noun].painted);
const small = all.filter((noun) => nouns[noun].small);
/** What looks out of a box. */
const tall = small.filter((noun) => noun !== "cake");
const unhidden = pairable.filter((noun) => !nouns[noun].small);
const everyAxis: readonly Axis[] = ["side", "front"];

const draws: Record<Pattern, (random: Random, fresh: boolean) => Drawn> = {
  orientation(random, fresh) {
    const axesOf = (noun: Noun) => (fresh ? freshAxes(noun) : seenAxes(noun));
    const noun = random.pick(pairable.filter((name) => axesOf(name).length > 0));
    const facing = random.pick(facingsOf(axesOf(noun)));
    const thing = (name: Noun) => plainThing(random, name);
    const first = { ...thing(noun), facing, yaw: yawOf(random, facing) };
    if (random.chance(65)) return single(random, first);
    return besideInAnyOrder(random, [first, thing(random.pick(companions(noun)))]);
  },
  relation(random, fresh) {
    const partners = (noun: Noun, of: readonly Noun[]) =>
      of.filter((name) => name !== noun && unseenPair(noun, name) === fresh);
    const held = { table: partners("table", small), box: partners("box", tall) };
    const kind = random.weighted<Layout>({
      beside: 40,
      depth: 28,
      ...(held.table.length > 0 && { table: 20 }),
      ...(held.box.length > 0 && { box: 12 }),
    });
    if (kind === "table" || kind === "box")
      return support(random, kind, plainThing(random, random.pick(held[kind])), plainThing(random, kind));
    const noun = random.pick(pairable.filter((name) => partners(name, pairable).length > 0));
    const other = random.pick(partners(noun, pairable));
    const things = random.shuffled([noun, other]).map((name) => plainThing(random, name));
    return kind === "beside" ? beside(random, things) : depth(random, things);
  },
  colour(random, fresh) {
    if (random.chance(40)) {
      const noun = random.pick(painted);
      // Of an unseen colour the question is new whichever answer is right.
      const colour = fresh && random.chance(50) ? unseenColour(noun) : random.pick(seenColours(noun));
      return single(random, { ...plainThing(random, noun), colour });
    }
    const noun = random.pick(painted);
    const options = painted.filter((name) => name !== noun && !unseenPair(noun, name));
    const other = random.pick(options);
    const shared = seenColours(noun).filter((colour) => seenColours(other).includes(colour));
    const [one, two] = random.shuffled(shared);
    const mixed = fresh ? random.shuffled([unseenColour(noun), one!]) : [one!, two!];
    const things = [
      { ...plainThing(random, noun), colour: mixed[0]! },
      { ...plainThing(random, other), colour: mixed[1]! },
    ];
    return besideInAnyOrder(random, things);
  },
  count(random, fresh) {
    const many = all.filter((noun) => nouns[noun].many && (!fresh || unseenCount(noun) !== undefined));
    const noun = random.pick(many);
    const held = unseenCount(noun);
    const count = fresh && random.chance(50) ? held! : random.pick(seenCounts(noun));
    const thing = plainThing(random, noun);
    delete thing.facing;
    const slots = random
      .shuffled(manySlots)
      .map(([x, z]) => ({ x: x + jitter(random, 45), z: z + jitter(random, 45) }));
    const turns = slots.map(() => jitter(random, 200));
    const things = slots.map((slot, i) => ({
      ...thing,
      ...slot,
      yaw: (thing.yaw + turns[i]! + 4096) % 4096,
      size: Math.round(Math.min(thing.size, 1000) * 0.47),
    }));
    return { layout: "many", things, count };
  },
  state(random, fresh) {
    const noun = random.pick(fresh ? unseen.state : all.filter((name) => asksState(name)));
    const thing = plainThing(random, noun);
    delete thing.facing;
    const yaw = (random.pick([0, 2048]) + jitter(random, 300) + 4096) % 4096;
    return single(random, { ...thing, state: random.pick(nouns[noun].states!), yaw });
  },
  presence(random, fresh) {
    if (fresh || random.chance(60)) {
      const held: readonly Noun[] = unseen.hat;
      const noun = random.pick(all.filter((name) => nouns[name].head && held.includes(name) === fresh));
      const thing = plainThing(random, noun);
      delete thing.facing;
      // From behind, a head and its hat may be hidden.
      const toward = facingsOf(axesShown(noun)).filter((facing) => facing !== "away");
      const size = Math.round(thing.size * 0.88);
      return single(random, {
        ...thing,
        yaw: yawOf(random, random.pick(toward)),
        size,
        hat: random.chance(50),
      });
    }
    const extra = random.pick(small);
    const noun = random.pick(unhidden.filter((name) => !unseenPair(name, extra)));
    const [main, added] = [plainThing(random, noun), plainThing(random, extra)];
    const way = random.pick([-1, 1]);
    const things = [
      {
        ...main,
        x: -170 * way + jitter(random, 40),
        z: jitter(random, 60),
        size: Math.round(main.size * 0.72),
      },
      {
        ...added,
        x: 480 * way + jitter(random, 40),
        z: 260 + jitter(random, 60),
        size: Math.round(added.size * 0.5),
      },
    ];
    return { layout: "extra", things, extra: random.chance(50) };
  },
  structure(random) {
    const family = random.pick<readonly Noun[]>([...families, ["table"]]);
    const noun = random.pick(family);
    const thing = plainThing(random, noun);
    delete thing.facing;
    const { builds } = nouns[noun];
    if (builds) return single(random, { ...thing, state: random.pick(builds) });
    const shared = family.map(axesShown).reduce((one, other) => one.filter((axis) => other.includes(axis)));
    thing.yaw = yawOf(random, random.pick(facingsOf(shared)));
    const colours = family.map((name) => (nouns[name].painted ? seenColours(name) : []));
    if (thing.colour)
      thing.colour = random.pick(colours[0]!.filter((colour) => colours[1]!.includes(colour)));
    return single(random, thing);
  },
  text(random) {
    return single(random, {
      ...plainThing(random, "sign"),
      yaw: jitter(random, 120),
      says: random.pick(signWords),
    });
  },
  viewpoint(random) {
    const thing = plainThing(random, random.pick(all));
    delete thing.facing;
    const size = Math.round(Math.min(thing.size, 1000) * 0.9);
    return {
      ...single(random, { ...thing, size }),
      view: random.pick<View>(["above", "side", "near", "far"]),
    };
  },
  object(random) {
    return single(random, plainThing(random, random.pick(all)));
  },
  place(random) {
    return single(random, plainThing(random, random.pick(all)));
  },
};

/** Axes of a noun that training never shows. */
function freshAxes(noun: Noun): Axis[] {
  const seen = seenAxes(noun);
  return (nouns[noun].axes ?? []).filter((axis) => !seen.includes(axis));
}

/** Axes along which training may turn a noun, whether that is told or not. */
function axesShown(noun: Noun): readonly Axis[] {
  const { axes, shows } = nouns[noun];
  if (shows) return [shows];
  return axes ? everyAxis.filter((axis) => !freshAxes(noun).includes(axis)) : everyAxis;
}

function facingsOf(axes: readonly Axis[]): Facing[] {
  return (Object.keys(facings) as Facing[]).filter((facing) => axes.includes(facings[facing].axis));
}

/** Up to 12 degrees to either side. */
function yawOf(random: Random, facing: Facing): number {
  return (facings[facing].yaw + jitter(random, 136) + 4096) % 4096;
}

function jitter(random: Random, most: number): number {
  return random.between(-most, most);
}

/** A thing with a colour if it is painted and a facing if that shows, as training allows them. */
export function plainThing(random: Random, noun: Noun): Thing {
  const { axes, shows, painted: hasColour, size = 100 } = nouns[noun];
  const seen = seenAxes(noun);
  const facing = seen.length > 0 ? random.pick(facingsOf(seen)) : undefined;
  const free = (axes ?? shows) ? yawOf(random, random.pick(facingsOf(axesShown(noun)))) : random.below(4096);
  const turned = facing ? yawOf(random, facing) : free;
  const colour: Colour | undefined = hasColour ? random.pick(seenColours(noun)) : undefined;
  return {
    noun,
    ...(colour && { colour }),
    ...(facing && { facing }),
    x: 0,
    z: 0,
    yaw: turned,
    size: size * 10,
  };
}

/** What training shows together with a noun. */
function companions(noun: Noun): Noun[] {
  return pairable.filter((name) => name !== noun && !unseenPair(noun, name));
}

function single(random: Random, thing: Thing): Drawn {
  const size = Math.round((thing.size * random.between(84, 104)) / 100);
  return { layout: "single", things: [{ ...thing, x: jitter(random, 100), z: jitter(random, 80), size }] };
}

/** Side by side, the first to the left or to the right of the second. */
function beside(random: Random, [first, second]: readonly Thing[]): Drawn {
  const relation = random.pick<Relation>(["left", "right"]);
  const way = relation === "left" ? -1 : 1;
  const stand = (thing: Thing, x: number) => ({
    ...thing,
    x: x + jitter(random, 30),
    z: jitter(random, 90),
    size: pairSize(thing),
  });
  return { layout: "beside", things: [stand(first!, 375 * way), stand(second!, -375 * way)], relation };
}

/** The same, but the caption may begin with the second; asked is about the first. */
function besideInAnyOrder(random: Random, things: readonly Thing[]): Drawn {
  const asked = random.below(2);
  return { ...beside(random, asked === 0 ? things : [things[1]!, things[0]!]), asked };
}

/** One before the other, and to its side, so that both are seen. */
function depth(random: Random, [first, second]: readonly Thing[]): Drawn {
  const relation = random.pick<Relation>(["front", "behind"]);
  const way = random.pick([-1, 1]);
  const near = (thing: Thing) => ({
    ...thing,
    x: -230 * way + jitter(random, 40),
    z: 480 + jitter(random, 50),
    size: Math.round(pairSize(thing) * 0.8),
  });
  const far = (thing: Thing) => ({
    ...thing,
    x: 290 * way + jitter(random, 40),
    z: -520 + jitter(random, 50),
    size: pairSize(thing),
  });
  const things = relation === "front" ? [near(first!), far(second!)] : [far(first!), near(second!)];
  return { layout: "depth", things, relation };
}

function pairSize({ size }: Thing): number {
  return Math.round(Math.min(size, 1000) * 0.63);
}

/** A small thing and what holds it: a table that it is on or under, a box that it is in or beside. */
function support(random: Random, layout: "table" | "box", thing: Thing, holder: Thing): Drawn {
  const relation = random.pick<Relation>(layout === "table" ? ["on", "under"] : ["in", "beside"]);
  const held = {
    ...thing,
    x: jitter(random, 120),
    z: jitter(random, 60),
    size: Math.round(thing.size * 0.37),
  };
  const size = Math.round(holder.size * (layout === "table" ? 0.9 : 0.8));
  if (layout === "table") return { layout, relation, things: [held, { ...holder, size }] };
  // The box stands to one side, the thing beside it on the other.
  const x = random.pick([-1, 1]) * 230 + jitter(random, 30);
  return { layout, relation, things: [held, { ...holder, x, size, state: "open" }] };
}

const manySlots = [
  [-520, 130],
  [520, 90],
  [-60, -420],
  [40, 520],
] as const;
