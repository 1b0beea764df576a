/** @file Winograd's convolutions: the transforms by algebra, and what is written by them against the evaluator. */

import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import {
  conv2d,
  cpuKernels,
  fastKernels,
  input,
  isOp,
  type Padding,
  parameter,
  winogradWeights,
} from "../src/graph/index.js";
import { transforms, type WinogradPlan } from "../src/graph/onnx/winograd.js";
import { Bench, compute, expectExact, mistakes } from "./reference/bench.js";
import { sample } from "./reference/cases.js";
import { evaluate } from "./reference/evaluate.js";

const sizes = [2, 4] as const;

/** Grids of numbers, for products of small matrices in doubles. */
type Matrix = number[][];
const multiply = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => b[0]!.map((_, j) => row.reduce((sum, one, k) => sum + one * b[k]![j]!, 0)));
const transposed = (a: Matrix): Matrix => a[0]!.map((_, j) => a.map((row) => row[j]!));
const square = (side: number) =>
  fc.array(fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: side, maxLength: side }), {
    minLength: side,
    maxLength: side,
  });

describe.each(sizes)("the transforms of F(%ix%<ix, 3x3)", (m) => {
  const { AT, G, BT } = transforms(m);

  it("give the outputs of the direct convolution", () => {
    fc.assert(
      fc.property(square(m + 2), square(3), (tile, weights) => {
        const u = multiply(multiply(G, weights), transposed(G));
        const v = multiply(multiply(BT, tile), transposed(BT));
        const products = u.map((row, i) => row.map((one, j) => one * v[i]![j]!));
        const outputs = multiply(multiply(AT, products), transposed(AT));
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < m; j++) {
            let direct = 0;
            for (let a = 0; a < 3; a++) {
              for (let b = 0; b < 3; b++) direct += tile[i + a]![j + b]! * weights[a]![b]!;
            }
            expect(Math.abs(outputs[i]![j]! - direct)).toBeLessThan(1e-13);
          }
        }
      }),
    );
  });

  it("are applied to weights in doubles, and rounded once", () => {
    const [filters, channels] = [3, 5];
    const weights = new Bench(2).random([filters, channels, 3, 3]).toFloat32();
    const derived = winogradWeights(weights, { m, filters, channels });
    const t = m + 2;
    for (let pair = 0; pair < filters * channels; pair++) {
      const w = [0, 3, 6].map((row) => [...weights.subarray(pair * 9 + row, pair * 9 + row + 3)]);
      const u = multiply(multiply(G, w), transposed(G)).flat();
      u.forEach((one, place) => {
        const error = Math.abs(derived[place * filters * channels + pair]! - one);
        expect(error).toBeLessThanOrEqual(2 ** -24 * Math.abs(one) * (1 + 1e-9));
      });
    }
    expect(derived).toHaveLength(t * t * filters * channels);
  });
});

const plans: WinogradPlan[] = sizes.flatMap((m) => [
  { m, order: "tiles" as const },
  { m, order: "tiles" as const, band: 1 },
  { m, order: "tiles" as const, band: 2 },
  { m, order: "channels" as const },
]);

/** Largest error allowed, in parts of the largest output. */
const bounds = { 2: 4e-6, 4: 2e-5 };

describe.each(plans)("a convolution by F($m), $order, bands of $band", (plan) => {
  const side = fc.integer({ min: 1, max: 19 });
  const cells = fc.nat(2);
  const cases = fc
    .record({
      batch: fc.integer({ min: 1, max: 3 }),
      channels: fc.integer({ min: 1, max: 24 }),
      filters: fc.integer({ min: 1, max: 24 }),
      grid: fc.tuple(side, side),
      padding: fc.tuple(cells, cells, cells, cells) as fc.Arbitrary<Padding>,
      biased: fc.boolean(),
      type: fc.constantFrom("f32" as const, "f16" as const, "bf16" as const),
    })
    .filter(({ grid: [h, w], padding: [a, b, c, d] }) => h + a + c >= 3 && w + b + d >= 3);

  it("equals the evaluator's over grids, paddings and batches", async () => {
    const kernels = { ...cpuKernels, convolution: () => plan };
    await using engine = await Engine.open({ device: "cpu", memory: "fast", kernels });
    const bench = new Bench(1);
    for (const one of fc.sample(cases, { numRuns: 40, seed: 1 })) {
      const weight = bench.parameter([one.filters, one.channels, 3, 3], one.type, 9 * one.channels);
      const bias = one.biased ? bench.parameter([one.filters], one.type) : undefined;
      const x = bench.input([one.batch, one.channels, ...one.grid]);
      bench.want(conv2d(x, weight, bias, { padding: one.padding }));
    }
    await expectExact(engine, bench, bounds[plan.m]);
  });
});

describe("the table of fast", () => {
  it("chooses by shape", () => {
    const chosen = (channels: number, filters: number, side: number, stride = 1) => {
      const dims = [filters, channels, 3, 3];
      const weight = parameter("w", dims, "f32", { file: "w", offset: 0, length: 36 * filters * channels });
      const value = conv2d(input("x", [1, channels, side, side]), weight, undefined, { padding: 1, stride });
      return fastKernels.convolution(value);
    };
    expect(chosen(4, 320, 64)).toBe("direct");
    expect(chosen(320, 320, 64, 2)).toBe("direct");
    expect(chosen(1280, 1280, 8)).toEqual({ m: 2, order: "channels" });
    expect(chosen(1280, 1280, 16)).toEqual({ m: 2, order: "channels" });
    expect(chosen(640, 640, 32)).toEqual({ m: 4, order: "channels" });
    expect(chosen(320, 320, 64)).toEqual({ m: 4, order: "tiles" });
    expect(chosen(128, 128, 512)).toMatchObject({ m: 4, order: "tiles", band: 1 });
  });

  it("keeps within f32 rounding whatever it chooses", async () => {
    await using engine = await Engine.open({ device: "cpu", memory: "fast" });
    const bench = new Bench(4);
    const weight = bench.parameter([64, 64, 3, 3], "f16", 576);
    for (const [rows, columns] of [
      [9, 7],
      [16, 16],
      [23, 40],
      [47, 49],
    ] as const) {
      const value = conv2d(bench.input([1, 64, rows, columns]), weight, bench.parameter([64]), {
        padding: 1,
      });
      expect(fastKernels.convolution(value)).toBeTypeOf("object");
      bench.want(value);
    }
    await expectExact(engine, bench, bounds[4]);
  });

  it("is not used where weights are fed", () => {
    const x = input("x", [1, 64, 32, 32]);
    expect(
      fastKernels.convolution(conv2d(x, input("w", [64, 64, 3, 3]), undefined, { padding: 1 })),
    ).not.toBeTypeOf("object");
  });
});

describe("derived weights", () => {
  const files = () => readdirSync(tmpdir()).filter((name) => name.startsWith(`diffsight-${process.pid}-`));

  it("lie in a file that goes with the program, and are made again when it runs again", async () => {
    const bench = new Bench(3);
    const x = bench.input([1, 64, 20, 20]);
    bench.want(conv2d(x, bench.parameter([64, 64, 3, 3], "f32", 576), undefined, { padding: 1 }));
    const engine = await Engine.open({ device: "cpu", memory: "fast" });
    const program = engine.compile(bench.outputs);
    const feeds = Object.fromEntries(program.inputs.map(({ name }) => [name, bench.feeds[name]!]));
    await program.run(feeds);
    expect(files()).not.toEqual([]);
    await program.release();
    expect(files()).toEqual([]);
    const results = await program.run(feeds);
    expect(mistakes(bench, results, evaluate(bench.outputs, bench.feeds), bounds[4])).toEqual([]);
    await engine.dispose();
    expect(files()).toEqual([]);
  });
});

/** Convolutions that the runtime's own kernel would compute with bits that depend on the number of threads. */
describe("a convolution by columns", () => {
  const engine = Engine.open({
    device: "cpu",
    memory: "mmap",
    kernels: { ...cpuKernels, convolution: () => "columns" },
  });
  afterAll(async () => (await engine).dispose());

  it("equals the evaluator's over kernels, strides, paddings and batches", async () => {
    const bench = new Bench(1);
    for (const use of sample("conv2d", 40, 2)) bench.want(use(bench));
    expect(Object.values(bench.outputs).every((value) => isOp(value, "conv2d"))).toBe(true);
    const results = await compute(await engine, bench);
    expect(mistakes(bench, results, evaluate(bench.outputs, bench.feeds), 2e-5)).toEqual([]);
  });
});
