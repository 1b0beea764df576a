/** @file Collects many small values as outputs of one graph, with random numbers to feed, so that one session tests them all. */

import { expect } from "vitest";
import type { Engine } from "../../src/engine/index.js";
import { constant, input, isOp, parameter, type Value } from "../../src/graph/index.js";
import { type Dims, type DType, formatDims, Tensor, TorchGenerator } from "../../src/tensor/index.js";
import { evaluate } from "./evaluate.js";
import { type Numbers, numbersOf } from "./numbers.js";

/** How random numbers are spread. */
export type Spread = "normal" | "positive";

/** Little-endian bytes of a tensor, as they lie in a file. */
export function bytesOf({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

export class Bench {
  readonly outputs: Record<string, Value> = {};
  readonly feeds: Record<string, Tensor> = {};
  readonly #random: TorchGenerator;

  constructor(seed: number) {
    this.#random = new TorchGenerator(seed);
  }

  random(dims: Dims, spread: Spread = "normal"): Tensor {
    const numbers = this.#random.randn(dims).toFloat32();
    return Tensor.f32(dims, spread === "normal" ? numbers : numbers.map((one) => 0.25 + Math.abs(one)));
  }

  /** A value fed at run time. */
  input(dims: Dims, spread?: Spread): Value {
    return this.given(this.random(dims, spread));
  }

  given(tensor: Tensor): Value {
    const name = `x${Object.keys(this.feeds).length}`;
    this.feeds[name] = tensor;
    return input(name, tensor.dims, tensor.dtype);
  }

  /** Trained numbers in memory; about 1 / √(inputs) where `fan` is given, as trained weights are. */
  parameter(dims: Dims, stored: DType = "f32", fan = 1): Value {
    const tensor = Tensor.f32(
      dims,
      this.random(dims)
        .toFloat32()
        .map((one) => one / Math.sqrt(fan)),
    );
    return parameter("weight", dims, stored, { bytes: bytesOf(tensor.to(stored)) });
  }

  constant(dims: Dims, spread?: Spread): Value {
    return constant(this.random(dims, spread));
  }

  /** Asks for a value. */
  want(value: Value): void {
    this.outputs[`y${Object.keys(this.outputs).length}`] = value;
  }
}

/** A value in words, for messages: "conv2d [1, 3, 5, 5], [4, 3, 3, 3] {"stride":2} -> [1, 4, 2, 2]". */
export function describeValue({ op, inputs, attributes, dims }: Value): string {
  const sources = inputs.map((one) => {
    const kind = isOp(one, "parameter") ? `${one.attributes.stored} ` : "";
    return kind + formatDims(one.dims);
  });
  return `${op} ${sources.join(", ")} ${JSON.stringify(attributes)} -> ${formatDims(dims)}`;
}

/** Largest |actual - expected|; infinite where one is no number and the other is. */
export function difference(actual: Float64Array, expected: Float64Array): number {
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i]) || actual[i] === expected[i]) continue;
    const one = Math.abs(actual[i]! - expected[i]!);
    worst = Math.max(worst, Number.isNaN(one) ? Number.POSITIVE_INFINITY : one);
  }
  return worst;
}

function largest({ data }: Numbers): number {
  return data.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
}

/** Values whose results are further from the evaluator's than `relative` times their largest number (or 1), in words. */
export function mistakes(
  bench: Bench,
  results: Readonly<Record<string, Tensor>>,
  expected: Readonly<Record<string, Numbers>>,
  relative: number,
): string[] {
  return Object.entries(bench.outputs).flatMap(([name, value]) => {
    const actual = numbersOf(results[name]!);
    const wanted = expected[name]!;
    if (formatDims(actual.dims) !== formatDims(value.dims))
      return [`${describeValue(value)} has the shape ${formatDims(actual.dims)}`];
    const error = difference(actual.data, wanted.data);
    const allowed = relative * Math.max(1, largest(wanted));
    return error <= allowed ? [] : [`${describeValue(value)} is off by ${error}, allowed ${allowed}`];
  });
}

/** Runs everything the bench holds as one graph. */
export async function compute(engine: Engine, bench: Bench): Promise<Record<string, Tensor>> {
  const program = engine.compile(bench.outputs);
  try {
    return await program.run(
      Object.fromEntries(program.inputs.map(({ name }) => [name, bench.feeds[name]!])),
    );
  } finally {
    await program.release();
  }
}

/** Asserts that an engine's results are the evaluator's, within f32 rounding. */
export async function expectExact(engine: Engine, bench: Bench, relative = 2e-5): Promise<void> {
  const expected = evaluate(bench.outputs, bench.feeds);
  expect(mistakes(bench, await compute(engine, bench), expected, relative)).toEqual([]);
}
