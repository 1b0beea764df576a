/** @file Another task with random numbers in place of its data: its steps cost the same, and need no files. */

import { z } from "zod";
import { isOp } from "../src/graph/index.js";
import { Tensor, TorchGenerator } from "../src/tensor/index.js";
import { defineTask, scopeOf, type Task, type TrainingGraph } from "../src/training/index.js";

const config = z.strictObject({ module: z.string(), config: z.unknown(), batch: z.number() });

export type BenchedTask = z.infer<typeof config>;

const inner = new Map<string, Task>();

/** Loads a task, which its threads do in `open`. @returns its config with the defaults */
export async function prepare(module: string, config: unknown): Promise<unknown> {
  const { task } = (await import(module)) as { task: Task };
  inner.set(module, task);
  const read = task.config.parse(config);
  return (await task.read?.(read)) ?? read;
}

function numbersFor({ inputs }: TrainingGraph): Record<string, Tensor> {
  const random = new TorchGenerator(0);
  const tensors = Object.values(inputs).map((value) => {
    const { name } = isOp(value, "input") ? value.attributes : { name: "" };
    const normal = value.dtype === "f32" ? random.randn(value.dims) : Tensor.f32(value.dims).to(value.dtype);
    return [name, normal];
  });
  return Object.fromEntries(tensors);
}

export const task = defineTask<BenchedTask>({
  version: 1,
  config,
  initial: ({ module, config }, random) => inner.get(module)!.initial(config, random),
  graph: ({ config: { module, config }, ...request }) => inner.get(module)!.graph({ config, ...request }),
  rule: (key, { module, config }) => inner.get(module)!.rule?.(key, config) ?? {},
  async open({ config: { module, config, batch } }) {
    await prepare(module, config);
    const task = inner.get(module)!;
    const w = scopeOf(task.initial(config, new TorchGenerator(0)));
    const numbers = numbersFor(task.graph({ config, w, split: "train", batch }));
    return { train: batch, validation: batch, batch: () => numbers };
  },
});
