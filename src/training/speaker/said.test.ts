import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TorchGenerator } from "../../tensor/index.js";
import type { Question, SceneLine } from "../lines.js";
import type { Subject } from "../subjects.js";
import { type SpeakerTraining, speakerConfig } from "./config.js";
import { drawSaid } from "./said.js";

const questions = ["left", "red", "two", "above"].map(
  (word, i): Question => ({
    pattern: "any",
    question: `Question ${i}`,
    options: [`${word} indeed`, `not ${word}`],
    answer: (i % 2) as 0 | 1,
  }),
);
const line: SceneLine = { captions: { loose: "a dog", full: "a dog in the park" }, questions };
const scene: Subject = {
  kind: "scene",
  line,
  pictures: ["0"],
  questions: questions.map(({ question }) => question),
  captions: line.captions,
};

const said = (seed: number, more: Partial<SpeakerTraining>) => {
  const config = { ...speakerConfig.parse({ network: {} }), ...more };
  return drawSaid(scene, config, true, new TorchGenerator(seed));
};

describe("what is said of a scene", () => {
  it("is any of its questions, as many as asked for, each once and with its own options and answer", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 6 }), (seed, most) => {
        const { turns, questions: asked, template, pictures } = said(seed, { turns: most, options: 1 });
        expect([template, pictures, asked.length]).toEqual(["chat", 1, Math.min(most, questions.length)]);
        expect(new Set(asked).size).toBe(asked.length);
        for (const [i, index] of asked.entries()) {
          const { question, options, answer } = questions[index]!;
          const [user, assistant] = turns.slice(2 * i, 2 * i + 2);
          expect(user!.text.startsWith("<image>\n")).toBe(i === 0);
          expect(user!.text).toContain(question);
          for (const option of options) expect(user!.text).toContain(option);
          expect(assistant).toEqual({ role: "assistant", text: options[answer] });
        }
      }),
    );
  });

  it("begins with the question that alone would be asked", () => {
    for (let seed = 0; seed < 20; seed++) {
      const [alone, several] = [said(seed, {}), said(seed, { turns: 3 })];
      expect(several.turns.slice(0, 2)).toEqual(alone.turns);
    }
  });

  it("is its caption for a share of the draws", () => {
    const kinds = Array.from({ length: 200 }, (_, seed) => said(seed, { captions: 0.5 }));
    const captions = kinds.filter(({ template }) => template === "plain");
    expect(captions.length).toBeGreaterThan(70);
    expect(captions.length).toBeLessThan(130);
    expect(captions[0]!.turns[1]!.text).toBe("a dog in the park");
    expect(captions[0]!.questions).toEqual([]);
  });

  it("asks for yes or no in a share of its questions", () => {
    const facing: Question = {
      pattern: "orientation",
      question: "which way is the dog facing?",
      options: ["left", "right"],
      answer: 1,
    };
    const hat: Question = {
      pattern: "presence",
      question: "does the dog have a hat?",
      options: ["a hat", "no hat"],
      answer: 1,
    };
    const shares = { ...speakerConfig.parse({ network: {} }), options: 0, claims: 0.5 };
    const about = (question: Question) =>
      Array.from({ length: 200 }, (_, seed) => {
        const asked: Subject = { ...scene, line: { ...line, questions: [question] } };
        const { turns } = drawSaid(asked, shares, false, new TorchGenerator(seed));
        return `${turns[0]!.text} ${turns[1]!.text}`;
      });
    const told = about(facing);
    expect(new Set(told)).toEqual(
      new Set([
        "which way is the dog facing? right",
        "is the dog facing left? no",
        "is the dog facing right? yes",
      ]),
    );
    const claims = told.filter((text) => text.startsWith("is")).length;
    expect(claims).toBeGreaterThan(70);
    expect(claims).toBeLessThan(130);
    // Without its options it has one right answer.
    expect(new Set(about(hat))).toEqual(new Set(["does the dog have a hat? no"]));
  });
});
