/** @file Losses against their definitions. */

import { describe, expect, it } from "vitest";
import { noiseSchedule, velocity } from "../src/diffusion/index.js";
import { constant, gradients, scalar, type Value } from "../src/graph/index.js";
import { Tensor, TorchGenerator } from "../src/tensor/index.js";
import {
  contrastiveLoss,
  diffusionTarget,
  divergence,
  languageLoss,
  noisyLatent,
  psnr,
  recallAtOne,
  reconstructionLoss,
  sampled,
} from "../src/training/losses.js";
import { evaluate } from "./reference/evaluate.js";

const random = new TorchGenerator(5);
const drawn = (...dims: number[]) => random.randn(dims);
const numbers = (value: Value) => [...evaluate({ value }).value!.data];
const number = (value: Value) => {
  expect(value.dims).toEqual([]);
  return numbers(value)[0]!;
};
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe("diffusion", () => {
  const schedule = noiseSchedule({ beta_schedule: "scaled_linear", beta_start: 0.00085, beta_end: 0.012 });
  const [latent, noise] = [drawn(2, 4, 3, 3), drawn(2, 4, 3, 3)];
  const timesteps = [50, 800];
  const column = (of: (alpha: number) => number) =>
    constant(
      Tensor.f32(
        [2, 1, 1, 1],
        timesteps.map((t) => Math.sqrt(of(schedule.alphasCumprod[t]!))),
      ),
    );
  const factors = { signal: column((alpha) => alpha), strength: column((alpha) => 1 - alpha) };
  const [x, ε] = [constant(latent), constant(noise)];

  it("aims at the noise, or at the velocity that the schedulers know", () => {
    expect(diffusionTarget("epsilon", x, ε, factors)).toBe(ε);
    const target = numbers(diffusionTarget("v_prediction", x, ε, factors));
    const expected = velocity(latent, noise, timesteps, schedule).toFloat32();
    for (const [i, value] of target.entries()) expect(value).toBeCloseTo(expected[i]!, 5);
  });

  it("gives back latent and noise from the noisy latent and the velocity", () => {
    const noisy = numbers(noisyLatent(x, ε, factors));
    const v = numbers(diffusionTarget("v_prediction", x, ε, factors));
    noisy.forEach((value, i) => {
      const alpha = schedule.alphasCumprod[timesteps[i < 36 ? 0 : 1]!]!;
      const back = Math.sqrt(alpha) * value - Math.sqrt(1 - alpha) * v[i]!;
      expect(back).toBeCloseTo(latent.toFloat32()[i]!, 5);
    });
  });
});

describe("autoencoders", () => {
  const [picture, other] = [drawn(2, 3, 4, 4), drawn(2, 3, 4, 4)];
  const errors = Array.from(picture.toFloat32(), (value, i) => other.toFloat32()[i]! - value);
  const none = { absolute: 0, squared: 0, edges: 0 };
  const loss = (weights: Partial<typeof none>) =>
    number(reconstructionLoss(constant(other), constant(picture), { ...none, ...weights }));

  it("weigh absolute and squared errors, and those of edges", () => {
    expect(loss({ absolute: 2 })).toBeCloseTo(2 * mean(errors.map(Math.abs)), 6);
    expect(loss({ squared: 3 })).toBeCloseTo(3 * mean(errors.map((e) => e * e)), 6);
    const along = errors.flatMap((e, i) => (i % 4 < 3 ? [Math.abs(errors[i + 1]! - e)] : []));
    const down = errors.flatMap((e, i) => (i % 16 < 12 ? [Math.abs(errors[i + 4]! - e)] : []));
    expect(loss({ edges: 1 })).toBeCloseTo(mean(along) + mean(down), 6);
    expect(loss({ absolute: 1, squared: 1 })).toBeCloseTo(loss({ absolute: 1 }) + loss({ squared: 1 }), 6);
  });

  it("sample through mean and variance, and measure the divergence from the standard normal", () => {
    const gaussian = { mean: scalar(1.5), logvar: scalar(Math.log(4)) };
    const flat = { mean: constant(Tensor.f32([1, 2], [0, 0])), logvar: constant(Tensor.f32([1, 2], [0, 0])) };
    expect(numbers(sampled(gaussian, scalar(-1)))[0]).toBeCloseTo(1.5 - 2, 6);
    expect(number(divergence(flat))).toBeCloseTo(0, 7);
    const wide = { mean: constant(Tensor.f32([1], [1.5])), logvar: constant(Tensor.f32([1], [Math.log(4)])) };
    expect(number(divergence(wide))).toBeCloseTo(0.5 * (2.25 + 4 - Math.log(4) - 1), 6);
  });

  it("are judged in dB, an example at a time", () => {
    const pixels = Tensor.f32([2, 1, 1, 2], [0, 0, 0.5, -0.5]);
    const near = Tensor.f32([2, 1, 1, 2], [0.2, 0.2, 7, -0.5]); // 7 counts as 1
    const expected = (10 * Math.log10(4 / 0.04) + 10 * Math.log10(4 / 0.125)) / 2;
    expect(number(psnr(constant(near), constant(pixels)))).toBeCloseTo(expected, 4);
  });
});

describe("CLIP", () => {
  const logits = Tensor.f32([3, 3], [4, 1, 0, 2, 3, 1, 5, 1, 0]);
  const identity = Tensor.f32([3, 3], [1, 0, 0, 0, 1, 0, 0, 0, 1]);

  it("counts equal captions as right, each as much", () => {
    const shared = Tensor.f32([3, 3], [0.5, 0, 0.5, 0, 1, 0, 0.5, 0, 0.5]);
    const entropy = (rows: number[][]) =>
      mean(
        rows.map((row, i) => {
          const total = Math.log(row.reduce((sum, one) => sum + Math.exp(one), 0));
          return -row.reduce((sum, one, j) => sum + shared.toFloat32()[3 * i + j]! * (one - total), 0);
        }),
      );
    const rows = logits.toArray() as number[][];
    const columns = rows.map((_, j) => rows.map((row) => row[j]!));
    const loss = contrastiveLoss(constant(logits), constant(shared), constant(shared));
    expect(number(loss)).toBeCloseTo((entropy(rows) + entropy(columns)) / 2, 6);
  });

  it("finds a text when its logit is the largest, whichever of equal ones it is", () => {
    expect(number(recallAtOne(constant(logits), constant(identity)))).toBeCloseTo(2 / 3, 6);
    const shared = Tensor.f32([3, 3], [0.5, 0, 0.5, 0, 1, 0, 0.5, 0, 0.5]);
    expect(number(recallAtOne(constant(logits), constant(shared)))).toBeCloseTo(1, 6);
  });
});

describe("language", () => {
  const logits = drawn(2, 3, 5);
  const labels = Tensor.i64([2, 3], [1, 4, 0, 2, 2, 3]);

  it("is judged where the weights say so", () => {
    const weights = [1, 0, 1, 0, 0, 1];
    const loss = languageLoss(constant(logits), constant(labels), constant(Tensor.f32([2, 3], weights)));
    const each = (logits.toArray() as number[][][]).flat().map((row, i) => {
      const total = Math.log(row.reduce((sum, one) => sum + Math.exp(one), 0));
      return total - row[Number(labels.data[i])]!;
    });
    expect(number(loss)).toBeCloseTo((each[0]! + each[2]! + each[5]!) / 3, 6);
  });

  it("gives no gradient to what does not count", () => {
    const source = constant(logits);
    const loss = languageLoss(source, constant(labels), constant(Tensor.f32([2, 3], [1, 1, 0, 0, 0, 0])));
    const slopes = numbers(gradients(loss, [source])[0]!);
    expect(slopes.slice(0, 10).every((slope) => slope !== 0)).toBe(true);
    expect(slopes.slice(10).every((slope) => slope === 0)).toBe(true);
  });
});
