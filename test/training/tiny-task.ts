/** @file A tiny task for tests: a network with one hidden layer learns a fixed function of random points. */

import { z } from "zod";
import { input, linear, mean, mul, reshape, sub, tanh } from "../../src/graph/index.js";
import { encodeSafetensors, Tensor } from "../../src/tensor/index.js";
import { defineTask } from "../../src/training/index.js";

const config = z.strictObject({
  hidden: z.number().int().positive(),
  /** The batch of this step is not a number. */
  spoiled: z.number().int().optional(),
  /** Milliseconds that a batch takes at least. */
  slow: z.number().optional(),
});

export const task = defineTask({
  version: 1,
  config,
  initial: ({ hidden }, random) =>
    new Map([
      ["in.weight", random.randn([hidden, 3])],
      ["in.bias", Tensor.f32([hidden])],
      ["out.weight", random.randn([2, hidden])],
      ["unused", Tensor.f32([3], [1, 2, 3])],
    ]),
  graph({ w, batch }) {
    const x = input("x", [batch, 3]);
    const wanted = input("wanted", [batch, 2]);
    const hidden = tanh(linear(x, w.parameter("in.weight"), w.parameter("in.bias")));
    const error = sub(linear(hidden, w.parameter("out.weight")), wanted);
    const loss = reshape(mean(mul(error, error), 0, 1), []);
    return { inputs: { x, wanted }, loss, metrics: { bias: reshape(mean(error, 0, 1), []) } };
  },
  async open({ config: { spoiled, slow }, data: { points: store } }) {
    return {
      train: store?.rows ?? 1000,
      validation: 64,
      batch({ rows, random, step, split }) {
        const end = performance.now() + (slow ?? 0);
        while (performance.now() < end);
        const points = rows.map((row) =>
          store
            ? [...store.row("point", row).toFloat32()]
            : [Math.sin(row), Math.cos(3 * row), (row % 7) / 7],
        );
        const noise = random.randn([rows.length * 2]).toFloat32();
        const wanted = points.flatMap(([a, b, c], i) => [a! * b! + 0.01 * noise[2 * i]!, c! - a!]);
        if (split === "train" && step === spoiled) wanted[0] = Number.NaN;
        return {
          x: Tensor.f32([rows.length, 3], points.flat()),
          wanted: Tensor.f32([rows.length, 2], wanted),
        };
      },
    };
  },
  async export({ config, weights, dtype }) {
    const tensors = [...weights].map(([key, tensor]) => [key, tensor.to(dtype)] as const);
    const files = { "config.json": JSON.stringify(config), "model.safetensors": encodeSafetensors(tensors) };
    return [{ name: "net", kind: ["transformers", "TinyModel"], files }];
  },
});
