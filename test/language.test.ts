/** @file Language models speak as transformers' do, remember what they read, and can be stopped. */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Engine, presets } from "../src/engine/index.js";
import { llamaLayout } from "../src/models/index.js";
import { DiffsightError, Tensor, TorchGenerator } from "../src/tensor/index.js";
import { type Context, LanguageModel } from "../src/vlm/index.js";
import { LanguageNetwork } from "../src/vlm/language/network.js";
import { checkSampling, sampleToken } from "../src/vlm/language/sampling.js";
import { openModel } from "../src/weights/index.js";
import { expectClose, Golden, goldenPath, maxDifference } from "./golden.js";

const folders = ["llama", "llama-gqa", "qwen2"];

/** The tokens of each row that the mask counts in. */
function rowsOf(golden: Golden, name: string): number[][] {
  const one = golden.case(name);
  const ids = golden.input(one, "input_ids").toArray() as number[][];
  if (!one.inputs.attention_mask) return ids;
  const mask = golden.input(one, "attention_mask").toArray() as number[][];
  return ids.map((row, i) => row.filter((_, j) => mask[i]![j] === 1));
}

const scores = ({ place }: Context) => Tensor.f32([1, place!.logits.length], place!.logits);

describe.each(["process", "here"] as const)("sessions in the %s", (host) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.open({ device: "cpu", host });
  });
  afterAll(() => engine.dispose());

  describe.each(folders)("%s", (folder) => {
    const golden = new Golden(folder);
    const open = () => LanguageModel.fromPretrained(goldenPath(folder), { engine });

    it("says the very tokens that transformers says, with its scores", async () => {
      const one = golden.case("greedy");
      const [prompt] = rowsOf(golden, "greedy") as [number[]];
      const [expected] = golden.output(one, "sequences").toArray() as [number[]];
      await using model = await open();
      const answer = model.generate([prompt], { maxTokens: 12, ignoreEos: true });
      const said: number[] = [];
      for await (const id of answer) said.push(id);
      expect([...prompt, ...said]).toEqual(expected);
      expect(answer.finish).toBe("length");
      expect(answer.ids).toEqual(said);

      const logits = golden.output(one, "logits").reshape([12, -1]);
      for (let i = 0; i < 12; i++) {
        using context = await model.read([[...prompt, ...said.slice(0, i)]]);
        const row = logits.toFloat32().subarray(i * logits.dims[1]!, (i + 1) * logits.dims[1]!);
        expectClose(
          scores(context),
          Tensor.f32([1, row.length], row),
          one.outputs.logits!.atol!,
          `token ${i}`,
        );
      }
    });

    it("says them to prompts of several lengths at once", async () => {
      const one = golden.case("greedy-left-padded");
      const prompts = rowsOf(golden, "greedy-left-padded");
      const expected = golden.output(one, "sequences").toArray() as number[][];
      await using model = await open();
      const answers = model.generateBatch(
        prompts.map((ids) => [ids]),
        { maxTokens: 4, ignoreEos: true },
      );
      const order: number[] = [];
      for await (const { sequence } of answers) order.push(sequence);
      expect(order).toEqual([0, 1, 0, 1, 0, 1, 0, 1]);
      expect(answers.ids).toEqual(expected.map((row) => row.slice(-4)));
      expect(answers.finish).toEqual(["length", "length"]);
    });

    it("reads embeddings in the place of tokens", async () => {
      const one = golden.case("inputs-embeds");
      const embeds = golden.input(one, "inputs_embeds").reshape([7, -1]);
      const expected = golden.output(one, "logits").toFloat32().slice(-96);
      await using model = await open();
      using context = await model.read([embeds]);
      expectClose(scores(context), Tensor.f32([1, 96], expected), one.outputs.logits!.atol!);
    });
  });
});

describe.each(["mistral", "llama-dynamic"])("%s", (folder) => {
  it("has transformers' scores and says its tokens, however many runs a text takes", async () => {
    const one = JSON.parse(readFileSync(goldenPath(folder, "case.json"), "utf8"));
    const { ids, logits, said } = one as { ids: number[]; logits: number[]; said: number[] };
    await using model = await LanguageModel.fromPretrained(goldenPath(folder), {
      device: "cpu",
      host: "here",
    });
    using context = await model.read([ids]);
    expectClose(scores(context), Tensor.f32([1, logits.length], logits), 1e-4);
    const answer = model.generate(context, { maxTokens: said.length, ignoreEos: true });
    for await (const _ of answer);
    expect(answer.ids).toEqual(said);
  });
});

it("a text longer than Mistral's window is refused", async () => {
  await using model = await LanguageModel.fromPretrained(goldenPath("mistral"), {
    device: "cpu",
    host: "here",
  });
  const text = Array.from({ length: 65 }, () => 5);
  await expect(model.read([text])).rejects.toThrow(/65 tokens is too long: the network knows 64 positions/);
});

it.each([
  [
    { num_key_value_heads: 4 },
    /layers\.0\.self_attn\.k_proj\.weight" is \[16, 32\], the config asks for \[32, 32\]/,
  ],
  [
    { intermediate_size: 40 },
    /layers\.0\.mlp\.\w+_proj\.weight" is \[48, 32\], the config asks for \[40, 32\]/,
  ],
  [{ vocab_size: 90 }, /lm_head\.weight" is \[96, 32\], the config asks for \[90, 32\]/],
])("weights that %j does not fit are named", async (wrong, message) => {
  const folder = await openModel(goldenPath("mistral"));
  const json = { ...(await folder.json<object>("config.json")), ...wrong };
  const open = async () => {
    await using model = await LanguageModel.open(json, await folder.checkpoint(""), { host: "here" });
    await model.prepare();
  };
  await expect(open()).rejects.toThrow(message);
});

describe.each(presets)("with the memory preset %s", (memory) => {
  it.each(folders)("%s says transformers' tokens, whatever its weights are stored as", async (folder) => {
    const golden = new Golden(folder);
    const [prompt] = rowsOf(golden, "greedy") as [number[]];
    const [expected] = golden.output(golden.case("greedy"), "sequences").toArray() as [number[]];
    await using model = await LanguageModel.fromPretrained(goldenPath(folder), {
      device: "cpu",
      host: "here",
      memory,
    });
    const answer = model.generate([prompt], { maxTokens: 12, ignoreEos: true });
    for await (const _ of answer);
    expect([...prompt, ...answer.ids]).toEqual(expected);
  });
});

describe("contexts", () => {
  let model: LanguageModel;
  beforeAll(async () => {
    model = await LanguageModel.fromPretrained(goldenPath("llama-gqa"), { device: "cpu", host: "here" });
  });
  afterAll(() => model.release());

  const text = Array.from({ length: 40 }, (_, i) => 3 + ((i * 17) % 90));
  const whole = async (ids: number[]) => {
    using context = await model.read([ids]);
    return scores(context);
  };

  it("share their beginning, and each goes on as if it were read alone", async () => {
    using prefix = await model.read([text.slice(0, 20)]);
    const endings = [text.slice(20, 25), text.slice(25, 26), text.slice(26, 40)];
    const contexts = await model.readBatch(
      endings.map((ids) => [ids]),
      { after: prefix },
    );
    for (const [i, context] of contexts.entries()) {
      const ids = [...text.slice(0, 20), ...endings[i]!];
      expect(context.length).toBe(ids.length);
      expect(context.ids).toEqual(ids);
      expect(maxDifference(scores(context), await whole(ids))).toBeLessThan(1e-5);
      context.release();
    }
  });

  it("are computed once, and each token after them in one row", async () => {
    const run = vi.spyOn(LanguageNetwork.prototype, "run");
    const computed = () => run.mock.calls.map(([rows]) => rows.length);
    using prefix = await model.read([text.slice(0, 20)]);
    using question = await model.read([text.slice(20, 23)], { after: prefix });
    const answers = model.generateBatch([question, question, prefix], { maxTokens: 4, ignoreEos: true });
    for await (const _ of answers);
    // The first token of each comes from what was read, and the last is not read any more.
    expect(computed()).toEqual([20, 3, 3, 3, 3]);
    expect(answers.ids[0]).toEqual(answers.ids[1]);
    run.mockRestore();
  });

  it("are forgotten without harm to those that went on from them", async () => {
    const first = await model.read([text.slice(0, 10)]);
    using second = await model.read([text.slice(10, 12)], { after: first });
    first.release();
    using other = await model.read([text.slice(5, 30)]);
    using third = await model.read([text.slice(12, 20)], { after: second });
    expect(maxDifference(scores(third), await whole(text.slice(0, 20)))).toBeLessThan(1e-5);
    expect(other.length).toBe(25);
    // What was forgotten is read again.
    using again = await model.read([text.slice(10, 14)], { after: first });
    expect(maxDifference(scores(again), await whole(text.slice(0, 14)))).toBeLessThan(1e-5);
  });

  it("keep an answer for what follows it", async () => {
    const answer = model.generate([text.slice(0, 7)], { maxTokens: 5, ignoreEos: true, keepContext: true });
    for await (const _ of answer);
    using said = answer.context;
    expect(said.ids).toEqual([...text.slice(0, 7), ...answer.ids]);
    using next = await model.read([[4, 5, 6]], { after: said });
    expect(maxDifference(scores(next), await whole([...said.ids, 4, 5, 6]))).toBeLessThan(1e-5);
  });

  it("take the place of those that were forgotten without harm to others", async () => {
    await using small = await random({ ...tiny, max_position_embeddings: 128 });
    await using other = await random({ ...tiny, max_position_embeddings: 128 });
    const word = fc.array(fc.nat(49), { minLength: 1, maxLength: 12 });
    const step = fc.record({ ids: word, after: fc.option(fc.nat(4)), forget: fc.nat(4) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const kept: Context[] = [];
        for (const { ids, after, forget } of steps) {
          const before = after === null ? undefined : kept.at(-1 - after);
          const context = await small.read([ids], before && before.length < 100 ? { after: before } : {});
          using alone = await other.read([context.ids]);
          expect(maxDifference(scores(context), scores(alone))).toBeLessThan(1e-4);
          kept.push(context);
          if (kept.length > 5) kept.splice(forget, 1)[0]!.release();
        }
        for (const context of kept) context.release();
      }),
      { numRuns: 25 },
    );
    for (let i = 0; i < 200; i++) (await small.read([[i % 50, 1, 2]])).release();
    using last = await small.read([[1, 2, 3]]);
    expect(last.place!.ranges).toEqual([[1, 4]]);
  }, 120_000);

  it("stay few where five are kept of many", async () => {
    await using small = await random(tiny);
    const kept: Context[] = [];
    for (let i = 0; i < 60; i++) {
      kept.push(await small.read([Array.from({ length: 10 }, (_, k) => (i + k) % 50)]));
      if (kept.length > 5) kept.shift()!.release();
    }
    // The sixth is read before the first of the five is forgotten.
    const ends = kept.flatMap(({ place }) => place!.ranges.map(([, to]) => to));
    expect(Math.max(...ends)).toBeLessThanOrEqual(1 + 6 * 10);
  });

  it("read long texts in parts", async () => {
    const json = { ...tiny, max_position_embeddings: 2048 };
    await using long = await random(json);
    const ids = Array.from({ length: 700 }, (_, i) => (i * 31) % 50);
    const [a, b] = await long.readBatch([[ids], [ids.slice(0, 300)]]);
    using alone = await long.read([ids.slice(0, 300)]);
    using rest = await long.read([ids.slice(300)], { after: alone });
    expect(maxDifference(scores(rest), scores(a!))).toBeLessThan(1e-4);
    expect(maxDifference(scores(alone), scores(b!))).toBeLessThan(1e-4);
  });
});

const tiny = {
  vocab_size: 50,
  hidden_size: 16,
  intermediate_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  eos_token_id: [7, 8],
};

/** A model of random weights in memory. */
async function random(json: Record<string, unknown>): Promise<LanguageModel> {
  const generator = new TorchGenerator(1);
  const entries = new Map(
    llamaLayout(json).map(({ key, dims }) => {
      const data = generator.randn(dims).toFloat32();
      return [
        key,
        { dtype: "f32" as const, dims: [...dims], storage: { bytes: new Uint8Array(data.buffer) } },
      ];
    }),
  );
  const checkpoint = {
    name: "random",
    entries,
    files: [],
    read: () => Promise.reject(new Error("weights are in memory")),
  };
  return LanguageModel.open(json, checkpoint, { device: "cpu", host: "here" });
}

describe("generation", () => {
  let model: LanguageModel;
  beforeAll(async () => {
    model = await random(tiny);
  });
  afterAll(() => model.release());

  const say = async (options: Parameters<LanguageModel["generate"]>[1], prompt = [[1, 2, 3]]) => {
    const answer = model.generate(prompt, options);
    for await (const _ of answer);
    return answer;
  };

  it("is the same for a seed, and another for another seed", async () => {
    const options = { temperature: 3, maxTokens: 20, ignoreEos: true };
    const [a, b, c] = [
      await say({ ...options, seed: 5 }),
      await say({ ...options, seed: 5 }),
      await say({ ...options, seed: 6 }),
    ];
    expect(a.ids).toEqual(b.ids);
    expect(a.ids).not.toEqual(c.ids);
  });

  it("ends at a token that ends answers, which is not told, or where it is asked to", async () => {
    const going = await say({ maxTokens: 60, ignoreEos: true, temperature: 2, seed: 3 });
    const end = going.ids.findIndex((id) => id === 7 || id === 8);
    expect(end).toBeGreaterThan(0);
    const ended = await say({ maxTokens: 60, temperature: 2, seed: 3 });
    expect([ended.ids, ended.finish]).toEqual([going.ids.slice(0, end), "stop"]);
    const asked = await say({ maxTokens: 60, temperature: 2, seed: 3, stop: (ids) => ids.length === 2 });
    expect([asked.ids, asked.finish]).toEqual([going.ids.slice(0, 2), "stop"]);
  });

  it("gives back what it held when its reader leaves", async () => {
    for (let i = 0; i < 3; i++) {
      for await (const _ of model.generate([[1, 2, 3]], { ignoreEos: true })) break;
    }
    using context = await model.read([[1, 2, 3]]);
    expect(context.place!.ranges).toEqual([[1, 4]]);
  });

  it("is cancelled at once, and the model goes on", async () => {
    const cancel = new AbortController();
    const answer = model.generate([[1, 2]], { ignoreEos: true, signal: cancel.signal });
    let told = 0;
    const reading = (async () => {
      for await (const _ of answer) if (++told === 3) cancel.abort();
    })();
    await expect(reading).rejects.toMatchObject({ code: "ABORTED" });
    expect(told).toBe(3);
    expect((await say({ maxTokens: 2, ignoreEos: true })).ids).toHaveLength(2);
  });

  it("is cancelled in the middle of a long prompt", async () => {
    await using long = await random({ ...tiny, max_position_embeddings: 20_000 });
    const ids = Array.from({ length: 15_000 }, (_, i) => i % 50);
    const cancel = new AbortController();
    const reading = long.read([ids], { signal: cancel.signal });
    setTimeout(() => cancel.abort(), 20);
    await expect(reading).rejects.toMatchObject({ code: "ABORTED" });
    using context = await long.read([[1, 2]]);
    expect(context.place!.ranges).toEqual([[1, 3]]);

    // In the last run of a prompt, too.
    const short = new AbortController();
    const last = long.read([[3, 4]], { signal: short.signal });
    await Promise.resolve();
    short.abort();
    await expect(last).rejects.toMatchObject({ code: "ABORTED" });
    using next = await long.read([[5]], { after: context });
    expect(next.place!.ranges).toEqual([[1, 4]]);
  });

  it("is read once", async () => {
    const answer = await say({ maxTokens: 2, ignoreEos: true });
    await expect(answer[Symbol.asyncIterator]().next()).rejects.toThrow("read once");
  });

  it("recovers what was lost with the process that computed it", async () => {
    await using engine = await Engine.open({ device: "cpu" });
    await using other = await LanguageModel.fromPretrained(goldenPath("llama"), { engine });
    using prefix = await other.read([[5, 6, 7, 8]]);
    const before = scores(await other.read([[9]], { after: prefix }));
    const cancel = new AbortController();
    const work = engine.exclusive(cancel.signal, async (host) => {
      while (host.alive) await new Promise((resolve) => setTimeout(resolve, 1));
    });
    setTimeout(() => cancel.abort(), 20);
    await expect(work).rejects.toMatchObject({ code: "ABORTED" });
    using again = await other.read([[9]], { after: prefix });
    expect(maxDifference(scores(again), before)).toBeLessThan(1e-5);
  });

  it.each([
    [() => say({ maxTokens: 0 }), "maxTokens"],
    [() => say({ temperature: -1 }), "temperature"],
    [() => say({ topP: 0 }), "topP"],
    [() => say({ topK: 1.5 }), "topK"],
    [() => say({ repetitionPenalty: 0 }), "repetitionPenalty"],
    [() => say({}, [[50]]), "no token 50"],
    [() => say({}, []), "one token or more"],
    [() => model.read([Tensor.f32([2, 15])]), "[n, 16]"],
    [() => model.read([Array(2049).fill(1)]), "2049 tokens"],
  ])("refuses what cannot be, %#", async (ask, words) => {
    const refused = ask();
    await expect(refused).rejects.toThrow(DiffsightError);
    await expect(refused).rejects.toThrow(words);
  });
});

describe("sampling", () => {
  const logits = Float32Array.of(2, 1, -1, 3, 0);
  const frequencies = (options: Parameters<typeof checkSampling>[0], occurred: number[] = []) => {
    const generator = new TorchGenerator(0);
    const counts = new Array<number>(logits.length).fill(0);
    for (let i = 0; i < 4000; i++)
      counts[sampleToken(logits, checkSampling(options), occurred, generator)]!++;
    return counts.map((count) => count / 4000);
  };
  const softmax = (scores: number[]) => {
    const total = scores.reduce((sum, one) => sum + Math.exp(one), 0);
    return scores.map((one) => Math.exp(one) / total);
  };
  const none = Number.NEGATIVE_INFINITY;

  it.each([
    ["greedy", {}, [], [none, none, none, 0, none]],
    ["temperature", { temperature: 2 }, [], [1, 0.5, -0.5, 1.5, 0]],
    ["top-k", { temperature: 1, topK: 2 }, [], [2, none, none, 3, none]],
    ["top-p", { temperature: 1, topP: 0.85 }, [], [2, none, none, 3, none]],
    ["top-p of almost nothing", { temperature: 1, topP: 0.01 }, [], [none, none, none, 3, none]],
    ["repetition", { temperature: 1, repetitionPenalty: 2 }, [3, 2, 2], [2, 1, -2, 1.5, 0]],
  ])("%s", (_, options, occurred, scores) => {
    frequencies(options, occurred).forEach((share, id) => {
      expect(Math.abs(share - softmax(scores)[id]!), `token ${id}`).toBeLessThan(0.025);
    });
  });
});
