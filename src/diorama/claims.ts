/** @file The world's questions as ones to be answered by yes or no: "is the dog facing left?" */

import type { Question } from "./questions.js";

/** Words that the world's own questions and answers do without. */
export const claimWords: readonly string[] = ["yes"];

/** Takes what a question asks about, and an option; nothing where no plain sentence comes of it. */
type Claim = (about: string, option: string) => string | undefined;

const claims: readonly (readonly [question: RegExp, claim: Claim])[] = [
  [/^which way is (the .+) facing\?$/, (thing, option) => `is ${thing} facing ${option}?`],
  [/^how is (the .+) seen\?$/, (thing, option) => `is ${thing} seen ${option}?`],
  [/^what color is (the .+)\?$/, (thing, option) => `is ${thing} ${option}?`],
  [
    /^how many (.+) are there\?$/,
    (things, option) => (option === "one" ? undefined : `are there ${option} ${things}?`),
  ],
  [/^what does (the sign) say\?$/, (sign, option) => `does ${sign} say ${option}?`],
  [/^what is in (the picture)\?$/, (_, option) => `is there ${option}?`],
  [/^where is (this|the .+)\?$/, (thing, option) => `is ${thing} ${option}?`],
  [/^is (it|the .+) (?:an? )?\S+ or (?:an? )?\S+\?$/, (thing, option) => `is ${thing} ${option}?`],
];

/** Asked by yes or no already. */
const closed = /^(is there|does the) (?!.* or )/;

/**
 * A question about one of its options, to be answered by yes or no.
 * @param option which one
 * @returns nothing where no plain question comes of it
 */
export function claimOf(
  { question, options, answer }: Pick<Question, "question" | "options" | "answer">,
  option: 0 | 1,
): { question: string; answer: "yes" | "no" } | undefined {
  if (closed.test(question)) return { question, answer: options[answer].startsWith("no ") ? "no" : "yes" };
  for (const [form, claim] of claims) {
    const about = form.exec(question)?.[1];
    const text = about === undefined ? undefined : claim(about, options[option]);
    if (text !== undefined) return { question: text, answer: option === answer ? "yes" : "no" };
  }
  return undefined;
}

/** Whether a question can be answered by yes or no as it is. */
export const isClosed = ({ question }: Pick<Question, "question">): boolean => closed.test(question);
