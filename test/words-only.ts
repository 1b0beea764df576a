/** @file A head that sees nothing but words: what it can answer is what the questions give away. */

import type { Question } from "../src/diorama/index.js";

const buckets = 1 << 16;

/** Hashed features of (question, option): the option, and it joined with every word and pair of words of the question. */
function features({ question }: Question, option: string): number[] {
  const words = question.split(" ");
  const pairs = words.slice(1).map((word, i) => `${words[i]} ${word}`);
  const parts = option.split(" ");
  const optionParts = [option, ...(parts.length > 1 ? parts : [])];
  return ["", question, ...words, ...pairs].flatMap((context) =>
    optionParts.map((part) => hash(`${context}|${part}`)),
  );
}

function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return (value ^ (value >>> 15)) & (buckets - 1);
}

/** Logistic regression on (features of the first option - features of the second), and on the order alone. */
export class WordsOnly {
  readonly #weights = new Float64Array(buckets);
  #first = 0;

  /** Above 0: the first option. */
  #score(question: Question): number {
    const [one, other] = question.options.map((option) => features(question, option)) as [number[], number[]];
    let sum = this.#first;
    for (const index of one) sum += this.#weights[index]!;
    for (const index of other) sum -= this.#weights[index]!;
    return sum;
  }

  train(questions: readonly Question[], { epochs = 3, rate = 0.05 } = {}): void {
    for (let epoch = 0; epoch < epochs; epoch++) {
      for (const question of questions) {
        const target = question.answer === 0 ? 1 : 0;
        const step = rate * (target - 1 / (1 + Math.exp(-this.#score(question))));
        this.#first += step;
        const [one, other] = question.options.map((option) => features(question, option)) as [
          number[],
          number[],
        ];
        for (const index of one) this.#weights[index]! += step;
        for (const index of other) this.#weights[index]! -= step;
      }
    }
  }

  isRight(question: Question): boolean {
    return (this.#score(question) > 0 ? 0 : 1) === question.answer;
  }
}

/** Wilson's interval of a share; 95 % at z = 1.96. */
export function interval(right: number, of: number, z = 1.96): [low: number, high: number] {
  const share = right / of;
  const middle = share + (z * z) / (2 * of);
  const half = z * Math.sqrt((share * (1 - share)) / of + (z * z) / (4 * of * of));
  return [(middle - half) / (1 + (z * z) / of), (middle + half) / (1 + (z * z) / of)];
}
