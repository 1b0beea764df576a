/** @file Which text diffusion is given: the policies, their chances, and that nothing but seed, row and epoch decides. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Conditioning,
  conditioningPolicySchema,
  conditioningSchema,
  conditionOn,
} from "../src/vlm/index.js";
import "./properties.js";

const row = {
  id: "000000033471",
  caption: "a dog left of a red cat on a small hill at night",
  questions: ["What is left?", "Which colour has the cat?", "Is it night?"],
  pseudoCaption: "two animals",
};
const draw = { seed: 1, epoch: 0 };
const without = (text: string, more: object = {}) =>
  conditioningSchema.parse({ text, dropout: 0, ...more }) as Conditioning;

describe("the policy by default", () => {
  it("is the leakage-safe recipe: no text in stage 1, questions in stage 2 and when asked", () => {
    expect(conditioningPolicySchema.parse({})).toEqual({
      stage1: { text: "none" },
      stage2: { text: "random-question", dropout: 0.3, guidance: 4 },
      inference: { text: "question", dropout: 0, guidance: 4 },
    });
    expect(conditioningPolicySchema.parse(undefined)).toEqual(conditioningPolicySchema.parse({}));
  });

  it("has its numbers changed one by one, each phase apart", () => {
    const { stage1, stage2 } = conditioningPolicySchema.parse({
      stage1: { text: "caption" },
      stage2: { text: "question", guidance: 1.5, dropout: 0.5 },
    });
    expect(stage1).toEqual({ text: "caption", dropout: 0.3, guidance: 4 });
    expect(stage2).toEqual({ text: "question", dropout: 0.5, guidance: 1.5 });
  });

  it.each([
    { text: "poem" },
    { text: "none", dropout: 0.3 },
    { text: "caption", dropout: 1.5 },
    { text: "caption", deleted: 0.3 },
    { text: "question", guidance: "high" },
  ])("refuses %j", (wrong) => {
    expect(conditioningSchema.safeParse(wrong).success).toBe(false);
  });
});

describe("the text", () => {
  it.each([
    [{ text: "none" } as const, { prompt: "", guidance: 0, reason: "none" }],
    [without("caption"), { prompt: row.caption, guidance: 4, reason: "text" }],
    [without("question", { guidance: 7 }), { prompt: row.questions[0], guidance: 7, reason: "text" }],
    [without("pseudo-caption"), { prompt: "two animals", guidance: 4, reason: "text" }],
    [without("caption", { dropout: 1 }), { prompt: "", guidance: 0, reason: "dropped" }],
  ])("of %j", (conditioning, expected) => {
    expect(conditionOn(conditioning, row, draw)).toEqual(expected);
  });

  it.each(["caption", "question", "random-question", "noisy-caption", "pseudo-caption"])(
    "%s that a row does not have is the empty prompt, and said to be missing",
    (text) => {
      const missing = { prompt: "", guidance: 0, reason: "missing" };
      expect(conditionOn(without(text), { id: "1" }, draw)).toEqual(missing);
      expect(conditionOn(without(text), { id: "1", caption: " ", questions: [] }, draw)).toEqual(missing);
    },
  );

  it("is any question of the conversation, each as often, another in another epoch", () => {
    const counts = new Map<string, number>();
    for (let epoch = 0; epoch < 3000; epoch++) {
      const { prompt } = conditionOn(without("random-question"), row, { seed: 5, epoch });
      counts.set(prompt, (counts.get(prompt) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual([...row.questions].sort());
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(120);
  });
});

describe("a noisy caption", () => {
  it("has 30 % of its words left out, the others in their order", () => {
    const words = row.caption.split(" ");
    for (let epoch = 0; epoch < 50; epoch++) {
      const left = conditionOn(without("noisy-caption"), row, { seed: 1, epoch }).prompt.split(" ");
      expect(left.length).toBe(words.length - Math.round(0.3 * words.length));
      let at = 0;
      for (const word of left) {
        at = words.indexOf(word, at) + 1;
        expect(at, `${word} in its order`).toBeGreaterThan(0);
      }
    }
  });

  it("keeps a word at least", () => {
    const all = without("noisy-caption", { deleted: 1 });
    expect(row.caption.split(" ")).toContain(conditionOn(all, row, draw).prompt);
    expect(conditionOn(all, { id: "x", caption: "dog" }, draw).prompt).toBe("dog");
  });
});

describe("dropout", () => {
  it("gives the empty prompt to its share of the rows", () => {
    const conditioning = conditioningSchema.parse({ text: "caption" });
    const dropped = Array.from({ length: 4000 }, (_, i) =>
      conditionOn(conditioning, { ...row, id: `${i}` }, draw),
    ).filter(({ reason }) => reason === "dropped").length;
    // Five standard deviations of 4000 draws.
    expect(Math.abs(dropped / 4000 - 0.3)).toBeLessThan(0.036);
  });

  it("drops the same rows in the same epochs whatever the text is", () => {
    for (let epoch = 0; epoch < 40; epoch++) {
      const reasons = ["caption", "random-question", "noisy-caption"].map(
        (text) => conditionOn(conditioningSchema.parse({ text }), row, { seed: 3, epoch }).reason,
      );
      expect(new Set(reasons).size).toBe(1);
    }
  });
});

it("is a function of seed, row and epoch, and of each of them", () => {
  const conditioning = conditioningSchema.parse({ text: "noisy-caption", dropout: 0.5, deleted: 0.5 });
  const id = fc.string({ maxLength: 20 });
  fc.assert(
    fc.property(id, fc.nat(), fc.nat(9), (name, seed, epoch) => {
      const of = () => conditionOn(conditioning, { ...row, id: name }, { seed, epoch });
      expect(of()).toEqual(of());
    }),
    { numRuns: 200 },
  );
  const over = (at: (i: number) => [string, number, number]) =>
    new Set(
      Array.from({ length: 30 }, (_, i) => {
        const [name, seed, epoch] = at(i);
        return conditionOn(conditioning, { ...row, id: name }, { seed, epoch }).prompt;
      }),
    ).size;
  expect(over((i) => [`row${i}`, 1, 0])).toBeGreaterThan(8);
  expect(over((i) => ["row", i, 0])).toBeGreaterThan(8);
  expect(over((i) => ["row", 1, i])).toBeGreaterThan(8);
});
