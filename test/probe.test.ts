/** @file A probe finds what features hold, and nothing where they hold nothing. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Store, StoreWriter, writeShard } from "../src/data/index.js";
import {
  type Answer,
  accuracy,
  comparePatterns,
  type HeadConfig,
  pairAccuracy,
  probe,
} from "../src/evaluation/index.js";
import { Sources } from "../src/evaluation/probe/items.js";
import { Tensor, TorchGenerator } from "../src/tensor/index.js";
import type { AskedRow } from "../src/training/index.js";

const tokens = 4;
const channels = 6;
const words = ["is", "the", "dog", "left", "or", "right", "red", "blue", "what", "color"];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "diffsight-probe-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Features in which the side is written at a random place, and the colour nowhere. */
async function writeFeatures(name: string, seed: number, rows: number, pairs = false): Promise<string> {
  const random = new TorchGenerator(seed);
  const at = path.join(folder, name);
  const plan = {
    key: name,
    rows,
    columns: { features: { dtype: "f16" as const, dims: [tokens, channels] } },
    lines: true,
  };
  const writer = StoreWriter.open(at, plan);
  for (const range of writer.missing) {
    const count = range.to - range.from;
    const features = random.randn([count, tokens, channels]).toFloat32().slice();
    const lines: AskedRow[] = [];
    for (let i = 0; i < count; i++) {
      const [side, colour, place] = random.rand([3]).toFloat32();
      const right = pairs ? i % 2 === 1 : side! < 0.5;
      features[(i * tokens + Math.floor(place! * tokens)) * channels + 2] = right ? 6 : -6;
      const of = (pattern: string, question: string, options: [string, string], first: boolean) =>
        ({ pattern, question, options, answer: first ? 0 : 1 }) as const;
      lines.push({
        questions: [
          of("side", "is the dog left or right?", ["right", "left"], right),
          ...(pairs ? [] : [of("colour", "what color is the dog?", ["red", "blue"], colour! < 0.5)]),
        ],
        ...(pairs && { pair: Math.floor(i / 2) }),
      });
    }
    const made = { columns: { features: Tensor.f32([count, tokens, channels], features).to("f16") }, lines };
    writer.record(await writeShard(at, range, plan, made));
  }
  (await writer.finish()).close();
  return at;
}

const config: HeadConfig = { words, column: "features", tokens, channels, width: 32, heads: 4, hops: 1 };
const settings = {
  steps: 150,
  batch: 64,
  parts: 2,
  schedule: { kind: "cosine", warmup: 10, hold: 0, to: 0 },
} as const;

async function run(name: string, head: HeadConfig): Promise<Record<string, Answer[]>> {
  const [train, validation, test, twins] = await Promise.all([
    writeFeatures(`${name}-train`, 1, 600),
    writeFeatures(`${name}-validation`, 2, 100),
    writeFeatures(`${name}-test`, 3, 300),
    writeFeatures(`${name}-twins`, 4, 100, true),
  ]);
  return probe({
    train,
    validation,
    tests: { test, twins },
    config: head,
    settings,
    folder: path.join(folder, `${name}-run`),
    key: name,
    threads: 2,
  });
}

describe("what several stores ask", () => {
  it("is the same, or the store that differs is named", async () => {
    const [one, other] = await Promise.all([
      writeFeatures("one", 1, 20),
      writeFeatures("other-pairs", 1, 20, true),
    ]);
    using first = Store.open(one);
    using second = Store.open(other);
    expect(new Sources({ a: first, b: first }).items.questions).toHaveLength(40);
    expect(() => new Sources({ a: first, b: second })).toThrow(`${other} does not ask what ${one} asks.`);
  });
});

describe("a probe", () => {
  it("answers what the features hold, guesses what they do not, and does the same again", async () => {
    const found = await run("seeing", config);
    const { patterns } = accuracy(found.test!);
    expect(found.test).toHaveLength(600);
    expect(patterns.side!.value).toBeGreaterThan(0.95);
    expect(patterns.colour!.low).toBeLessThan(0.5);
    expect(patterns.colour!.high).toBeGreaterThan(0.5);
    expect(pairAccuracy(found.twins!).patterns.side!).toMatchObject({ count: 50 });
    expect(pairAccuracy(found.twins!).macro.value).toBeGreaterThan(0.9);

    const blind = await run("blind", { ...config, channels: 0 });
    const words = accuracy(blind.test!).patterns.side!;
    expect(words.low).toBeLessThan(0.5);
    expect(words.high).toBeGreaterThan(0.5);
    expect(pairAccuracy(blind.twins!).macro.value).toBe(0);

    const compared = comparePatterns(found.test!, blind.test!);
    expect(compared.side!.p).toBeLessThan(1e-6);
    expect(compared.side!.difference.low).toBeGreaterThan(0.3);
    expect(compared.colour!.p).toBeGreaterThan(0.01);

    expect(await run("again", config)).toEqual(found);
  }, 120_000);

  it("refuses features of another shape", async () => {
    const at = await writeFeatures("other", 1, 60);
    const request = {
      train: at,
      validation: at,
      tests: {},
      settings,
      folder: path.join(folder, "refused"),
      threads: 1,
    };
    await expect(probe({ ...request, key: "other", config: { ...config, tokens: 9 } })).rejects.toThrow(
      "features is [4, 6], the head reads [9, 6]",
    );
  });
});
