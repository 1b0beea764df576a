/** @file Every operation, alone and joined to others, on every memory preset against the evaluator in double precision. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine, presets } from "../src/engine/index.js";
import { attention, cpuKernels, frontier, input, upsampleNearest, type Value } from "../src/graph/index.js";
import type { Tensor } from "../src/tensor/index.js";
import { Bench, bytesOf, expectExact } from "./reference/bench.js";
import { sample, uses } from "./reference/cases.js";
import { randomGraphs } from "./reference/random-graph.js";

const ops = Object.keys(uses) as (keyof typeof uses)[];

describe.each(presets)("on the CPU, %s", (memory) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.open({ device: "cpu", memory });
  });
  afterAll(() => engine.dispose());

  it.each(ops)("%s", async (op) => {
    const bench = new Bench(1);
    for (const use of sample(op, 24, 1)) bench.want(use(bench));
    await expectExact(engine, bench);
  });

  it("graphs of many operations, whatever the runtime fuses", async () => {
    const bench = new Bench(2);
    for (const { outputs } of randomGraphs(bench, 40, 1)) for (const value of outputs) bench.want(value);
    await expectExact(engine, bench, 1e-4);
  });

  it("graphs in two parts have the bits of the whole", async () => {
    const bench = new Bench(3);
    for (const { text, outputs } of randomGraphs(bench, 30, 2)) {
      const whole = named(outputs, "y");
      const cut = frontier(outputs, new Set([text]));
      const given = new Map(cut.map((value, i) => [value, `cut${i}`]));
      const shared = cut.length > 0 ? await run(engine, named(cut, "cut"), bench.feeds) : {};
      const parts = await run(engine, whole, { ...bench.feeds, ...shared }, given);
      const results = await run(engine, whole, bench.feeds);
      for (const name of Object.keys(whole)) {
        expect(Buffer.compare(bytesOf(parts[name]!), bytesOf(results[name]!)), name).toBe(0);
      }
    }
  });
});

function named(values: readonly Value[], prefix: string): Record<string, Value> {
  return Object.fromEntries(values.map((value, i) => [`${prefix}${i}`, value]));
}

async function run(
  engine: Engine,
  outputs: Record<string, Value>,
  feeds: Record<string, Tensor>,
  given?: ReadonlyMap<Value, string>,
): Promise<Record<string, Tensor>> {
  const program = engine.compile(outputs, given && { given });
  try {
    return await program.run(Object.fromEntries(program.inputs.map(({ name }) => [name, feeds[name]!])));
  } finally {
    await program.release();
  }
}

describe.each(["fused", "explicit"] as const)("attention, %s", (algorithm) => {
  it("over many keys, few keys, causal and biased", async () => {
    const kernels = { ...cpuKernels, attention: () => algorithm };
    await using engine = await Engine.open({ device: "cpu", memory: "fast", kernels });
    const bench = new Bench(5);
    for (const use of sample("attention", 30, 5)) bench.want(use(bench));
    for (const [queries, keys, width] of [
      [300, 300, 40],
      [500, 77, 80],
      [77, 77, 64],
      [3, 700, 160],
    ] as const) {
      const heads = 2;
      const of = (length: number) => bench.input([1, length, heads * width]);
      bench.want(attention(of(queries), of(keys), of(keys), { heads, scale: width ** -0.5 }));
    }
    await expectExact(engine, bench);
  });
});

it("scores that are too large for one buffer are computed in parts", async () => {
  const kernels = { ...cpuKernels, attention: () => "explicit" as const };
  await using engine = await Engine.open({ device: "cpu", memory: "fast", kernels });
  const bench = new Bench(6);
  const [heads, length] = [12, 1800];
  const of = () => bench.input([1, length, heads * 2]);
  bench.want(attention(of(), of(), of(), { heads, scale: 0.5, causal: true }));
  await expectExact(engine, bench);
});

it("nearest neighbours are floor(i h / height) for every pair of sizes", async () => {
  await using engine = await Engine.open({ device: "cpu" });
  const bench = new Bench(7);
  for (let h = 1; h <= 30; h++) {
    const x = input(`h${h}`, [1, 1, h, 1]);
    bench.feeds[`h${h}`] = bench.random([1, 1, h, 1]);
    for (let height = h; height <= 50; height++) bench.want(upsampleNearest(x, height, 1));
  }
  await expectExact(engine, bench, 0);
});
