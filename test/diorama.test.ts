/** @file The world's grammar: what it says is true, balanced, closed and the same everywhere. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  captions,
  claimOf,
  claimWords,
  drawScene,
  example,
  facings,
  isClosed,
  isFair,
  mainQuestion,
  numbers,
  type Pattern,
  patterns,
  places,
  plural,
  type Question,
  questions,
  Random,
  relations,
  type Scene,
  type Split,
  splits,
  twinExample,
  twins,
  unseenIn,
  unseenShares,
  views,
  vocabulary,
  World,
} from "../src/diorama/index.js";
import { interval, WordsOnly } from "./words-only.js";

function draw(split: Split, index: number, pattern?: Pattern): Scene {
  return drawScene(new Random(1, splits.indexOf(split), index), { split, ...(pattern && { pattern }) });
}

function drawMany(split: Split, count: number, pattern?: Pattern): Scene[] {
  return Array.from({ length: count }, (_, index) => draw(split, index, pattern));
}

const anyScene = fc
  .record({ split: fc.constantFrom(...splits), index: fc.nat(1 << 30) })
  .map(({ split, index }) => draw(split, index));

/** What is true of a scene, said as an answer. */
function truth(scene: Scene, { pattern, question }: Question): string {
  const { things, place, view, count, relation, extra } = scene;
  const named = things.find(({ noun }) => question.split(/[ ?]/).includes(noun));
  const a = (noun: string) => `${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}`;
  switch (pattern) {
    case "orientation":
      return facings[named!.facing!].words;
    case "presence":
      if (extra === undefined) return things[0]!.hat ? "a hat" : "no hat";
      return extra ? a(things[1]!.noun) : `no ${things[1]!.noun}`;
    case "state":
      return named!.state!;
    case "count":
      return numbers[count! - 1]!;
    case "relation":
      return `${relations[relation!].words} the ${things[1]!.noun}`;
    case "colour":
      return named!.colour!;
    case "structure":
      return things[0]!.state ?? a(things[0]!.noun);
    case "object":
      return a(things[0]!.noun);
    case "text":
      return things[0]!.says!;
    case "viewpoint":
      return views[view!].words;
    case "place":
      return `in the ${place}`;
  }
}

function wordsOf(text: string): string[] {
  return text.match(/[a-z]+|[^a-z\s]/g) ?? [];
}

describe("a scene", () => {
  it("is the same from the same numbers, and another from others", () => {
    expect(draw("train", 5)).toEqual(draw("train", 5));
    const looks = new Set(drawMany("train", 500).map((scene) => JSON.stringify({ ...scene, wording: 0 })));
    expect(looks.size).toBe(500);
  });

  it("comes from numbers that never change", () => {
    const random = new Random(1, 2, 2 ** 40);
    expect(Array.from({ length: 4 }, () => random.next())).toEqual([
      2403964300, 4165865401, 2066883112, 1347480395,
    ]);
    expect(Array.from({ length: 6 }, () => random.between(-3, 3))).toEqual([0, -1, 0, -3, -1, 1]);
    expect(random.shuffled([1, 2, 3, 4, 5])).toEqual([2, 4, 3, 1, 5]);
  });

  it("answers its questions truly, and offers one wrong option", () => {
    fc.assert(
      fc.property(anyScene, (scene) => {
        for (const question of questions(scene)) {
          const { options, answer } = question;
          expect(options[answer], question.question).toBe(truth(scene, question));
          expect(options[0]).not.toBe(options[1]);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("says in its full caption what questions ask", () => {
    fc.assert(
      fc.property(anyScene, (scene) => {
        const { full } = captions(scene);
        for (const { options, answer } of questions(scene)) {
          const said = options[answer].replace(/^(?:an?|the) | the .*/g, "");
          expect(full, options[answer]).toContain(said);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("says nothing in its loose caption but nouns, the place, colours and hats", () => {
    const telling =
      /\b(facing|left|right|front|behind|under|next|one|two|three|four|fallen|upright|open|closed|seen|says|no)\b/;
    fc.assert(
      fc.property(anyScene, (scene) => {
        const { loose } = captions(scene);
        expect(loose).not.toMatch(telling);
        expect(loose).toContain(scene.place);
      }),
      { numRuns: 2000 },
    );
  });

  it("keeps captions within 32 tokens and all words within the vocabulary", () => {
    const known = new Set(vocabulary);
    expect(vocabulary.length).toBeLessThanOrEqual(200);
    fc.assert(
      fc.property(anyScene, (scene) => {
        const { loose, full } = captions(scene);
        const texts = [
          loose,
          full,
          ...questions(scene).flatMap(({ question, options }) => [question, ...options]),
        ];
        for (const text of texts) {
          const words = wordsOf(text);
          expect(words.length, text).toBeLessThanOrEqual(30);
          expect(words.filter((word) => !known.has(word))).toEqual([]);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("makes of each question one about either option, of which one is true and the other is not", () => {
    const known = new Set([...vocabulary, ...claimWords]);
    fc.assert(
      fc.property(anyScene, (scene) => {
        for (const question of questions(scene)) {
          const { pattern, options, answer } = question;
          for (const option of [0, 1] as const) {
            const claim = claimOf(question, option);
            if (claim === undefined) {
              expect([pattern, options[option]]).toEqual(["count", "one"]);
              continue;
            }
            if (pattern === "presence")
              expect(claim).toEqual({
                question: question.question,
                answer: options[answer].startsWith("no ") ? "no" : "yes",
              });
            else {
              expect(claim.answer).toBe(option === answer ? "yes" : "no");
              expect(claim.question).toContain(` ${options[option]}`);
            }
            expect(isClosed(question)).toBe(pattern === "presence");
            expect(claim.question).toMatch(/^(is|are|does) .*\?$/);
            expect(wordsOf(claim.question).filter((word) => !known.has(word))).toEqual([]);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("uses every word of the vocabulary", () => {
    const said = new Set(
      splits.flatMap((split) =>
        patterns
          .filter((pattern) => split !== "unseen" || pattern in unseenShares)
          .flatMap((pattern) => drawMany(split, 600, pattern))
          .flatMap((scene) => {
            const { loose, full } = captions(scene);
            return [
              loose,
              full,
              ...questions(scene).flatMap(({ question, options }) => [question, ...options]),
            ];
          })
          .flatMap(wordsOf),
      ),
    );
    expect(vocabulary.filter((word) => !said.has(word))).toEqual([]);
  });

  it("speaks of several in the plural", () => {
    expect(["teddy", "man", "box", "bus", "cactus", "dog"].map((noun) => plural(noun as "dog"))).toEqual([
      "teddies",
      "men",
      "boxes",
      "buses",
      "cactuses",
      "dogs",
    ]);
  });
});

describe("twins", () => {
  const cases = patterns.map((pattern) => ({ pattern }));
  it.each(cases)("of $pattern share a question and differ in its answer", ({ pattern }) => {
    for (const scene of drawMany("test", 300, pattern)) {
      const { scenes, question, answers } = twins(scene);
      expect(answers[0]).not.toBe(answers[1]);
      scenes.forEach((one, i) => {
        expect(question.options[answers[i]!], captions(one).full).toBe(truth(one, question));
        expect(mainQuestion(one).question).toBe(question.question);
      });
      expect(unseenIn(scenes[1])).toEqual([]);
    }
  });

  it.each(cases)("of $pattern differ in their full captions", ({ pattern }) => {
    for (const scene of drawMany("validation", 100, pattern)) {
      const [one, other] = twins(scene).scenes.map((each) => captions(each).full);
      expect(one).not.toBe(other);
    }
  });
});

describe("a picture", () => {
  it("hardly ever has to be drawn again, so that chance in the draws stays chance in the scenes", async () => {
    const world = await World.open();
    const attempts = Array.from({ length: 200 }, (_, index) => example(world, index).attempt);
    expect(attempts.filter((attempt) => attempt > 0).length).toBeLessThanOrEqual(8);
  });

  it("stands where the renderer knows free floor", async () => {
    const { panoramas } = await World.open();
    for (const { panorama, turns } of Object.values(places))
      for (const turn of turns) expect(panoramas.get(panorama)!.turns).toContain(turn);
  });

  it("shows all things that are asked about, and its masks are its objects", async () => {
    const world = await World.open();
    for (const pattern of patterns) {
      const { scenes, renderings, question } = twinExample(world, 3, { split: "validation", pattern });
      renderings.forEach((rendering, i) => {
        expect(isFair(question, scenes[i]!, rendering)).toBe(true);
        const seen = new Set(rendering.mask);
        rendering.visible.forEach(({ pixels }, k) => {
          if (pixels > 20) expect(seen.has(k + 1)).toBe(true);
        });
      });
      expect(renderings[0].rgb).not.toEqual(renderings[1].rgb);
    }
  });

  it("tells the same whatever its size", async () => {
    const world = await World.open();
    for (let index = 0; index < 6; index++) {
      const [small, large] = [64, 96].map((size) => example(world, index, { size }));
      expect(large!.rendering.size).toBe(96);
      expect({ ...large, rendering: 0 }).toEqual({ ...small, rendering: 0 });
    }
  });
});

describe("unseen combinations", () => {
  it.each(["train", "validation", "test"] as const)("are never in %s", (split) => {
    for (const scene of drawMany(split, 6000)) expect(unseenIn(scene), captions(scene).full).toEqual([]);
  });

  it("are what the split unseen asks about", () => {
    for (const scene of drawMany("unseen", 2000)) {
      const rules = twins(scene).scenes.flatMap(unseenIn);
      expect(rules.length, captions(scene).full).toBeGreaterThan(0);
    }
  });

  it("refuse a pattern that has none", () => {
    expect(() => draw("unseen", 0, "text")).toThrow(/orientation, relation, count/);
  });
});

describe("words alone", () => {
  const head = new WordsOnly();
  head.train(drawMany("train", 30_000).flatMap(questions));

  /** Of 17 intervals of 95 % one is expected to miss; these are as wide as makes all of them hold in 95 % of worlds. */
  const wide = 2.97;

  function expectNothing(asked: readonly Question[]): void {
    const right = asked.filter((question) => head.isRight(question)).length;
    const [low, high] = interval(right, asked.length, wide);
    expect(low).toBeLessThan(0.5);
    expect(high).toBeGreaterThan(0.5);
  }

  it.each(patterns)("tell nothing of %s", (pattern) => {
    expectNothing(drawMany("test", 3000, pattern).map(mainQuestion));
  });

  it.each(patterns.filter((pattern) => ["orientation", "relation", "colour", "place"].includes(pattern)))(
    "tell nothing of %s where it is asked beside another",
    (pattern) => {
      const asked = drawMany("test", 20_000).flatMap((scene) => questions(scene).slice(1));
      expectNothing(asked.filter((question) => question.pattern === pattern));
    },
  );

  it.each(Object.keys(unseenShares) as Pattern[])("tell nothing of unseen %s", (pattern) => {
    expectNothing(drawMany("unseen", 3000, pattern).map(mainQuestion));
  });

  it("are exactly even over twins, whatever is learned from them", () => {
    for (const pattern of patterns) {
      const right = drawMany("test", 300, pattern)
        .map(twins)
        .flatMap(({ question, answers }) => answers.map((answer) => head.isRight({ ...question, answer })))
        .filter(Boolean).length;
      expect(right).toBe(300);
    }
  });
});
