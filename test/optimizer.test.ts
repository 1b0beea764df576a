/** @file The optimizer beside torch's: AdamW, clipping, the cosine schedule with warmup; and its independence of threads. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashBytes } from "../src/data/index.js";
import { TorchGenerator } from "../src/tensor/index.js";
import {
  adamwStep,
  averageStep,
  chunkSize,
  clipFactor,
  globalNorm,
  reduceGradients,
  shareOf,
} from "../src/training/optimizer.js";
import { rateAt } from "../src/training/schedule.js";
import { Golden } from "./golden.js";

const bytesOf = (numbers: Float32Array) => new Uint8Array(numbers.buffer);

const golden = new Golden("optimizer");
const names = ["w", "b", "s"] as const;

describe("six steps of torch's AdamW", () => {
  it.each(golden.cases.map((one) => [one.name, one] as const))("%s", (_, one) => {
    const { lr, weight_decay, clip, warmup_steps, total_steps } = one.args;
    const input = (name: string) => golden.input(one, name).toFloat32();
    const sizes = names.map((name) => input(`init.${name}`).length);
    const offsets = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0));
    const length = sizes.reduce((a, b) => a + b, 0);
    const join = (prefix: string) =>
      Float32Array.from(names.flatMap((name) => [...input(`${prefix}.${name}`)]));
    const state = {
      weights: join("init"),
      first: new Float32Array(length),
      second: new Float32Array(length),
    };
    const close = (output: string, actual: number[]) => {
      const entry = one.outputs[output]!;
      const expected = golden.tensor(entry).toFloat32();
      for (const [i, value] of expected.entries()) {
        expect(Math.abs(actual[i]! - value), `${output}[${i}]`).toBeLessThanOrEqual(entry.atol!);
      }
    };
    const rates: number[] = [];
    const norms: number[] = [];
    for (let step = 0; step < 6; step++) {
      const gradients = join(`grad${step}`);
      const squares = new Float64Array(1);
      const parts = [{ gradients: gradients.slice(), weight: 1 }];
      reduceGradients(gradients, parts, { begin: 0, end: length }, squares, { begins: true, ends: 1 });
      norms.push(globalNorm(squares));
      const rate = lr * rateAt({ kind: "cosine", warmup: warmup_steps, hold: 0, to: 0 }, step, total_steps);
      rates.push(rate);
      for (const [i, name] of names.entries()) {
        const span = { begin: offsets[i]!, end: offsets[i]! + sizes[i]! };
        const options = { betas: [0.9, 0.999], eps: 1e-8, weightDecay: weight_decay[name] } as const;
        const factor = clipFactor(norms.at(-1)!, clip ?? undefined);
        adamwStep(state, gradients, span, options, { rate, clip: factor, step: step + 1 });
        close(`step${step}.${name}`, [...state.weights.subarray(span.begin, span.end)]);
      }
    }
    close("exp_avg.w", [...state.first]);
    close("exp_avg_sq.w", [...state.second]);
    close("lr", rates);
    if (clip !== null) close("grad_norm", norms);
  });
});

describe("schedules", () => {
  it("rise from nothing, hold, and fall to what is left", () => {
    const linear = { kind: "linear", warmup: 10, hold: 0.5, to: 0.01 } as const;
    expect([0, 5, 10, 55, 60].map((step) => rateAt(linear, step, 110))).toEqual([0, 0.5, 1, 1, 1]);
    expect(rateAt(linear, 85, 110)).toBeCloseTo(0.01 + 0.99 / 2, 12);
    expect(rateAt(linear, 110, 110)).toBeCloseTo(0.01, 12);
    expect(rateAt({ ...linear, kind: "constant" }, 109, 110)).toBe(1);
    expect(rateAt({ ...linear, kind: "cosine", hold: 0 }, 60, 110)).toBeCloseTo(0.505, 12);
  });

  it("never leave [0, 1]", () => {
    fc.assert(
      fc.property(
        fc.record({
          kind: fc.constantFrom("constant", "cosine", "linear"),
          warmup: fc.nat(50),
          hold: fc.double({ min: 0, max: 1, noNaN: true }),
          to: fc.double({ min: 0, max: 1, noNaN: true }),
        }),
        fc.nat(200),
        fc.integer({ min: 1, max: 200 }),
        (schedule, step, steps) => {
          const rate = rateAt(schedule as Parameters<typeof rateAt>[0], step, steps);
          expect(rate >= 0 && rate <= 1).toBe(true);
        },
      ),
    );
  });
});

describe("work shared among threads", () => {
  const length = 3 * chunkSize + 77;
  const random = new TorchGenerator(1);
  const parts = [0, 1, 2].map(() => random.randn([length]).toFloat32());

  it.each([2, 3, 5])("gives the bits of one, with %i", (workers) => {
    const run = (workers: number) => {
      const sum = new Float32Array(length);
      const mine = parts.map((gradients, i) => ({ gradients, weight: i + 1 }));
      const squares = new Float64Array(Math.ceil(length / chunkSize));
      const spans = Array.from({ length: workers }, (_, i) => shareOf(length, i, workers));
      for (const span of spans) reduceGradients(sum, mine, span, squares, { begins: true, ends: 6 });
      const state = {
        weights: new Float32Array(length),
        first: new Float32Array(length),
        second: new Float32Array(length),
      };
      const average = new Float32Array(length);
      for (const span of spans) {
        const options = { betas: [0.9, 0.99], eps: 1e-8, weightDecay: 0.1 } as const;
        adamwStep(state, sum, span, options, {
          rate: 0.1,
          clip: clipFactor(globalNorm(squares), 1),
          step: 1,
        });
        averageStep(average, state.weights, span, { decay: 0.99, warmup: true }, 1);
      }
      return { ...state, average, norm: globalNorm(squares) };
    };
    const bits = (arrays: Record<string, Float32Array | number>) =>
      hashBytes(
        ...Object.values(arrays).map((one) => (typeof one === "number" ? String(one) : bytesOf(one))),
      );
    expect(bits(run(workers))).toBe(bits(run(1)));
  });

  it("covers every number once", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10 * chunkSize }),
        fc.integer({ min: 1, max: 16 }),
        (length, workers) => {
          const spans = Array.from({ length: workers }, (_, i) => shareOf(length, i, workers));
          expect(spans[0]!.begin).toBe(0);
          expect(spans.at(-1)!.end).toBe(length);
          for (const [i, span] of spans.slice(1).entries()) expect(span.begin).toBe(spans[i]!.end);
        },
      ),
    );
  });
});
