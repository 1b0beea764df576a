/** @file How likely a language model takes texts to be. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LanguageModel } from "../src/vlm/index.js";
import { goldenPath } from "./golden.js";

let model: LanguageModel;
beforeAll(async () => {
  model = await LanguageModel.fromPretrained(goldenPath("llama"), { device: "cpu", threads: 1 });
});
afterAll(() => model.release());

const prompt = [1, 5, 9, 20, 3];
const texts = [[7, 11, 2], [7], [], [7, 11, 30, 4]];

/** By reading every beginning of the text for itself. */
async function oneByOne(ids: readonly number[]): Promise<number[]> {
  const found: number[] = [];
  for (const [i, id] of ids.entries()) {
    using context = await model.read([[...prompt, ...ids.slice(0, i)]]);
    const scores = [...context.place!.logits];
    const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
    found.push(scores[id]! - Math.log(total));
  }
  return found;
}

describe("the likelihood of texts", () => {
  it("is each token's after the tokens before it, for several at once", async () => {
    using after = await model.read([prompt]);
    const scores = await model.score(texts.map((ids) => ({ after, ids })));
    for (const [i, ids] of texts.entries()) {
      const expected = await oneByOne(ids);
      expect(scores[i]).toHaveLength(ids.length);
      for (const [k, value] of expected.entries()) expect(scores[i]![k]).toBeCloseTo(value, 5);
    }
  });

  it("is that of a long text read in parts", async () => {
    const long = Array.from({ length: 100 }, (_, i) => (7 * i) % 31);
    using after = await model.read([prompt]);
    const [whole, half] = await model.score([long, long.slice(0, 50)].map((ids) => ({ after, ids })));
    expect(whole).toHaveLength(100);
    expect([...whole!.slice(0, 50)]).toEqual([...half!].map((value) => expect.closeTo(value, 4)));
  });

  it("leaves nothing behind", async () => {
    using after = await model.read([prompt]);
    const [before] = await model.score([{ after, ids: [7, 11] }]);
    await model.score([{ after, ids: [9, 9, 9] }]);
    const [again] = await model.score([{ after, ids: [7, 11] }]);
    expect(again).toEqual(before);
  });

  it("is refused for tokens that there are none of", async () => {
    using after = await model.read([prompt]);
    await expect(model.score([{ after, ids: [1, 100_000] }])).rejects.toMatchObject({ code: "PROMPT" });
  });
});
