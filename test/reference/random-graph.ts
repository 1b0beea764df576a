/** @file Random graphs of many operations, as networks join them, for what only shows between operations: fusions, cuts. */

import fc from "fast-check";
import type { Value } from "../../src/graph/index.js";
import * as graph from "../../src/graph/index.js";
import type { Bench } from "./bench.js";

const [batch, tokens, channels, heads] = [2, 6, 8, 2];
const dims = [batch, tokens, channels];

type Step = (bench: Bench, a: Value, b: Value) => Value;

const weight = (bench: Bench, ...shape: number[]) => bench.parameter(shape, "f32", shape.at(-1)!);

/** What is done to two earlier values; results stay of the order of 1. */
const steps: Step[] = [
  (_, a, b) => graph.mul(graph.add(a, b), 0.7),
  (_, a, b) => graph.sub(a, graph.mul(b, 0.5)),
  (_, a, b) => graph.mul(a, graph.tanh(b)),
  (_, a, b) => graph.div(a, graph.add(graph.exp(graph.clamp(b, -3, 3)), 1)),
  (_, a) => graph.silu(a),
  (_, a) => graph.quickGelu(a),
  (_, a) => graph.mul(a, graph.sigmoid(graph.mul(a, 1.702))),
  (_, a, b) => graph.add(a, graph.mean(b, 1)),
  (_, a) => graph.sub(a, graph.logSumExp(a, 2)),
  (_, a, b) => graph.attention(a, b, b, { heads, scale: (channels / heads) ** -0.5 }),
  (_, a) => graph.attention(a, a, a, { heads, scale: 0.5, causal: true }),
  (_, a, b) => graph.matmul(graph.softmax(graph.matmul(a, graph.transpose(b, [0, 2, 1]))), b),
  (bench, a) => graph.linear(a, weight(bench, channels, channels), weight(bench, channels)),
  (bench, a) => graph.layerNorm(a, weight(bench, channels), weight(bench, channels), { eps: 1e-5 }),
  (bench, a, b) =>
    graph.layerNorm(graph.add(a, b), weight(bench, channels), weight(bench, channels), { eps: 1e-5 }),
  (bench, a, b) => graph.linear(graph.concat([a, b], -1), weight(bench, channels, 2 * channels)),
  (bench, a) => {
    const [value, gate] = graph.split(graph.linear(a, weight(bench, 2 * channels, channels)), -1, 2);
    return graph.mul(value!, graph.gelu(gate!));
  },
  (bench, a) => {
    const grid = graph.reshape(graph.transpose(a, [0, 2, 1]), [batch, channels, 2, 3]);
    const normal = graph.groupNorm(grid, weight(bench, channels), weight(bench, channels), {
      groups: 4,
      eps: 1e-5,
    });
    const next = graph.conv2d(
      graph.silu(normal),
      bench.parameter([channels, channels, 3, 3], "f32", 72),
      undefined,
      {
        padding: 1,
      },
    );
    return graph.transpose(graph.reshape(next, [batch, channels, tokens]), [0, 2, 1]);
  },
];

const plan = fc.array(fc.tuple(fc.nat(steps.length - 1), fc.nat(), fc.nat()), {
  minLength: 8,
  maxLength: 30,
});

export interface RandomGraph {
  image: Value;
  text: Value;
  /** The last values, which the most others lead to. */
  outputs: Value[];
}

/** The same graphs every time, over two inputs of the bench. */
export function randomGraphs(bench: Bench, count: number, seed: number): RandomGraph[] {
  return fc.sample(plan, { numRuns: count, seed }).map((chosen) => {
    const [image, text] = [bench.input(dims), bench.input(dims)];
    const values: Value[] = [image, text];
    // Later values are likelier inputs, so that the graphs are deep.
    const pick = (n: number) => values[Math.max(0, values.length - 1 - (n % 5))]!;
    for (const [kind, a, b] of chosen) values.push(steps[kind]!(bench, pick(a), pick(b)));
    return { image, text, outputs: values.slice(-3) };
  });
}
