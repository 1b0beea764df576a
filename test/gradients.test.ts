/** @file Every gradient rule against finite differences in double precision, and as it is computed in f32. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import * as graph from "../src/graph/index.js";
import { fastKernels, gradients, topologicalOrder, trainingKernels, type Value } from "../src/graph/index.js";
import { DiffsightError, TorchGenerator } from "../src/tensor/index.js";
import { Bench, describeValue, expectExact } from "./reference/bench.js";
import { sample, uses } from "./reference/cases.js";
import { evaluate } from "./reference/evaluate.js";
import type { Numbers } from "./reference/numbers.js";
import { randomGraphs } from "./reference/random-graph.js";

/** What only gradients are made of, for there are no gradients of gradients; and what has none. */
const without = [
  "conv2dInputGradient",
  "conv2dWeightGradient",
  "attentionWeights",
  "groupCentred",
  "groupInverse",
  "layerMean",
  "layerInverse",
  "affine",
  "upsampleNearestGradient",
  "after",
  // What is only ever computed forwards.
  "cachedAttention",
  "quantizedLinear",
] as const satisfies (keyof typeof uses)[];

const ops = (Object.keys(uses) as (keyof typeof uses)[]).filter(
  (op) => !(without as readonly string[]).includes(op),
);

/** Through which nothing flows, wherever the numbers go. */
const flat = ["equal", "greater", "detach"] as const satisfies (keyof typeof uses)[];

/** The f32 leaves that a value is computed from, constants apart. */
function leavesOf(value: Value): Value[] {
  return topologicalOrder([value]).filter(
    ({ op, dtype }) => (op === "input" || op === "parameter") && dtype === "f32",
  );
}

/** One number that every number of `value` counts in differently. */
function lossOf(bench: Bench, value: Value): Value {
  const weighted = graph.mul(value, bench.constant(value.dims));
  return graph.reshape(graph.sum(graph.reshape(weighted, [1, -1]), 1), []);
}

const step = 1e-5;

/**
 * What a gradient says of steps in random directions, and what the loss does there; each to be within the other's
 * rounding.
 */
function expectSlopes(bench: Bench, loss: Value, leaves: readonly Value[], found: readonly Value[]): void {
  const random = new TorchGenerator(99);
  const wanted = Object.fromEntries([...leaves, ...found].map((value, i) => [`${i}`, value]));
  const at = evaluate(wanted, bench.feeds);
  leaves.forEach((leaf, i) => {
    const [here, gradient] = [at[i]!, at[leaves.length + i]!];
    expect(gradient.dims, `gradient of ${describeValue(leaf)}`).toEqual(leaf.dims);
    for (let direction = 0; direction < 2; direction++) {
      const way = random.randn(leaf.dims).toFloat32();
      const moved = (by: number): number => {
        const numbers: Numbers = { dims: here.dims, data: here.data.map((one, j) => one + by * way[j]!) };
        return evaluate({ loss }, bench.feeds, new Map([[leaf, numbers]])).loss!.data[0]!;
      };
      const measured = (moved(step) - moved(-step)) / (2 * step);
      const told = gradient.data.reduce((sum, one, j) => sum + one * way[j]!, 0);
      const size = gradient.data.reduce((sum, one, j) => sum + Math.abs(one * way[j]!), 0);
      expect(
        Math.abs(told - measured),
        `slope of ${describeValue(loss)} along ${describeValue(leaf)}`,
      ).toBeLessThan(1e-6 * Math.max(1, size, Math.abs(measured)));
    }
  });
}

describe("the rule of", () => {
  it.each(ops.filter((op) => !(flat as readonly string[]).includes(op)))(
    "%s agrees with finite differences",
    (op) => {
      const bench = new Bench(11);
      for (const use of sample(op, 12, 3)) {
        const loss = lossOf(bench, use(bench));
        const leaves = leavesOf(loss);
        expectSlopes(bench, loss, leaves, gradients(loss, leaves));
      }
    },
  );

  it.each(flat)("%s lets nothing through", (op) => {
    const bench = new Bench(16);
    const loss = lossOf(bench, sample(op, 1, 1)[0]!(bench));
    const found = Object.fromEntries(gradients(loss, leavesOf(loss)).map((value, i) => [`${i}`, value]));
    for (const { data } of Object.values(evaluate(found, bench.feeds)))
      expect(new Set(data)).toEqual(new Set([0]));
  });

  it.each(without)("%s is refused by name", (op) => {
    const bench = new Bench(12);
    const loss = lossOf(bench, sample(op, 1, 1)[0]!(bench));
    expect(() => gradients(loss, leavesOf(loss))).toThrow(DiffsightError);
    expect(() => gradients(loss, leavesOf(loss))).toThrow(`no gradient of ${op}`);
  });
});

describe("gradients of graphs of many operations", () => {
  it("agree with finite differences", () => {
    const bench = new Bench(13);
    for (const { outputs } of randomGraphs(bench, 12, 5)) {
      const loss = outputs.map((value) => lossOf(bench, value)).reduce((a, b) => graph.add(a, b));
      const leaves = leavesOf(loss);
      expectSlopes(bench, loss, leaves, gradients(loss, leaves));
    }
  });
});

describe.each([
  ["inference", fastKernels],
  ["training", trainingKernels],
])("computed in f32 by the kernels of %s", (_, kernels) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.open({ device: "cpu", memory: "fast", kernels });
  });
  afterAll(() => engine.dispose());

  it.each(Object.keys(uses) as (keyof typeof uses)[])("%s is the evaluator's", async (op) => {
    const bench = new Bench(17);
    for (const use of sample(op, 24, 4)) bench.want(use(bench));
    await expectExact(engine, bench);
  });

  it.each(ops)("the gradients of %s are the evaluator's", async (op) => {
    const bench = new Bench(14);
    for (const use of sample(op, 12, 3)) {
      const loss = lossOf(bench, use(bench));
      for (const value of gradients(loss, leavesOf(loss))) bench.want(value);
    }
    await expectExact(engine, bench, 1e-4);
  });

  it("and those of graphs of many operations", async () => {
    const bench = new Bench(15);
    for (const { outputs } of randomGraphs(bench, 30, 6)) {
      const loss = outputs.map((value) => lossOf(bench, value)).reduce((a, b) => graph.add(a, b));
      for (const value of gradients(loss, leavesOf(loss))) bench.want(value);
    }
    await expectExact(engine, bench, 1e-3);
  });
});
