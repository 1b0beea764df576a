/** @file Judging over stores gives what the same model says when it is asked: a model of random weights, no training. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Store, StoreWriter, writeShard } from "../src/data/index.js";
import { readAnswers } from "../src/evaluation/answers/judge.js";
import { producer as answers } from "../src/evaluation/answers/producer.js";
import { featuresOf, hearsQuestion } from "../src/evaluation/answers/streams.js";
import { type Producer, randomAt, sceneSchema } from "../src/training/index.js";
import { producer as features } from "../src/training/producers/features.js";
import { producer as scenes } from "../src/training/producers/scenes.js";
import { task } from "../src/training/tasks/speaker.js";
import { parseDescription, VisionLanguageModel } from "../src/vlm/index.js";

const assets = fileURLToPath(new URL("../assets/micro", import.meta.url));

const sight = {
  encoders: {
    clip: { kind: "vision", model: `${assets}/clip` },
    sd: {
      kind: "diffusion",
      model: `${assets}/sd`,
      conditioning: { inference: { text: "question", dropout: 0, guidance: 4 } },
    },
  },
  fusion: { type: "channel-concat", encoders: ["clip", "sd"], normalisation: "layer-norm" },
  language: { model: "./llm" },
};

const network = {
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: 256,
  tie_word_embeddings: true,
};

let folder: string;
let model: string;
let pictures: Store;
const stores: Record<string, Store> = {};

/** What a producer makes, in this thread. */
async function made<Config>(
  name: string,
  producer: Producer<Config>,
  config: unknown,
  data: Record<string, Store> = {},
): Promise<Store> {
  const production = await producer.open({ config: producer.config.parse(config), data, models: {} });
  const { count, columns, lines } = production;
  const place = path.join(folder, name);
  mkdirSync(place);
  const writer = StoreWriter.open(place, { key: name, rows: count, columns, lines, shardRows: count });
  const rows = await production.make(0, count, () => {});
  writer.record(await writeShard(place, writer.missing[0]!, { columns, lines }, rows));
  await production.release?.();
  return writer.finish();
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "diffsight-answers-"));
  const config = await task.read!(task.config.parse({ network, sight }));
  const weights = task.initial(config, randomAt("initial", 5));
  const [component] = await task.export!({ config, weights, dtype: "f32", layout: "model", base: undefined });
  model = path.join(folder, "model");
  for (const [name, contents] of Object.entries(component!.files)) {
    mkdirSync(path.dirname(path.join(model, name)), { recursive: true });
    writeFileSync(path.join(model, name), typeof contents === "function" ? await contents() : contents);
  }
  pictures = await made("pictures", scenes, { count: 2, split: "validation" });
  for (const [name, encoder] of Object.entries(parseDescription(sight).encoders)) {
    stores[name] = await made(name, features, featuresOf(encoder, folder), { pictures });
    if (!hearsQuestion(encoder)) continue;
    const told = featuresOf(encoder, folder, "question");
    stores[`${name}-question`] = await made(`${name}-question`, features, told, { pictures });
  }
}, 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("judging over stores", () => {
  it("makes stores for what encoders are told alone", () => {
    expect(Object.keys(stores)).toEqual(["clip", "sd", "sd-question"]);
  });

  it("gives the likelihoods and the answers of the model when it is asked", async () => {
    using answered = await made("answers", answers, { model, options: false }, { pictures, ...stores });
    const found = readAnswers(answered);
    await using speaker = await VisionLanguageModel.fromPretrained(model);
    let row = 0;
    for (let picture = 0; picture < pictures.rows; picture++) {
      const { data } = pictures.row("rgb", picture);
      const image = { data: data as Uint8Array, width: 64, height: 64, channels: 3 as const };
      for (const { question, options, answer } of sceneSchema.parse(pictures.line(picture)).questions) {
        const turns = [{ role: "user" as const, text: `<image>\n${question}` }];
        const asked = options.map((answer) => ({ turns, images: [image], answer }));
        const scores = await speaker.score(asked);
        const likely = answered.row("logProbabilities", row).toFloat32();
        // Features in stores are of half precision.
        for (const i of [0, 1]) expect(likely[i]).toBeCloseTo(scores[i]!.logProbability, 2);
        const greedy = speaker.ask(image, question, { maxTokens: 3 });
        const said = options.indexOf((await greedy.whole()).trim());
        const isOption = greedy.finish === "stop" && said !== -1;
        expect(found[row]!.said).toBe(isOption ? (said === answer ? "right" : "wrong") : "other");
        row++;
      }
    }
    expect(row).toBe(answered.rows);
  }, 600_000);

  it("counts the questions of one picture alike, whether it is read for all of them or for each", async () => {
    const alone = structuredClone(sight) as Record<string, unknown>;
    alone.encoders = { clip: sight.encoders.clip };
    alone.fusion = { type: "none", encoder: "clip" };
    const config = await task.read!(task.config.parse({ network, sight: alone }));
    const weights = task.initial(config, randomAt("initial", 6));
    const [component] = await task.export!({
      config,
      weights,
      dtype: "f32",
      layout: "model",
      base: undefined,
    });
    const place = path.join(folder, "clip-model");
    for (const [name, contents] of Object.entries(component!.files)) {
      mkdirSync(path.dirname(path.join(place, name)), { recursive: true });
      writeFileSync(path.join(place, name), typeof contents === "function" ? await contents() : contents);
    }
    const asked = { config: answers.config.parse({ model: place }), models: {} };
    const production = await answers.open({ ...asked, data: { pictures, clip: stores.clip! } });
    const all = await production.make(0, production.count, () => {});
    for (let i = 0; i < production.count; i++) {
      const one = await production.make(i, i + 1, () => {});
      const [a, b] = [one, all].map(({ columns }) => columns.logProbabilities!.toFloat32());
      expect(a![0]).toBeCloseTo(b![2 * i]!, 4);
      expect(a![1]).toBeCloseTo(b![2 * i + 1]!, 4);
    }
    await production.release?.();
  }, 600_000);

  it("says which features are missing", async () => {
    const config = answers.config.parse({ model });
    const open = (data: Record<string, Store>) => answers.open({ config, data, models: {} });
    await expect(open({})).rejects.toThrow('data: "pictures" is missing');
    await expect(open({ pictures, clip: stores.clip! })).rejects.toThrow('"sd-question" is missing');
    const wrong = { ...stores, sd: stores["sd-question"]! };
    await expect(open({ pictures, ...wrong })).rejects.toThrow("rows where 2 are needed");
  });
});
