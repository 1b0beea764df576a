/**
 * @file A worker thread of a training run: computes the gradients of its parts in a session of its own with one thread,
 * and updates its share of the weights. It does one thing at a time, and nothing that it is not asked for.
 */

import { workerData } from "node:worker_threads";
import { Store } from "../data/index.js";
import { type Dims, type DType, Tensor, type TensorData } from "../tensor/index.js";
import { adamwStep, averageStep, type Round, reduceGradients, shareOf } from "./optimizer.js";
import type { Settings } from "./settings.js";
import { type PartResult, StepProgram } from "./step-program.js";
import type { Task } from "./task.js";
import { answerCalls } from "./thread.js";
import type { Layout } from "./weights.js";

/** The flat arrays, in memory that all threads see. */
export interface SharedArrays {
  weights: Float32Array;
  first: Float32Array;
  second: Float32Array;
  /** The moving average, where the recipe wants one. */
  average: Float32Array | undefined;
  /** The sum over a step's parts, then their mean. */
  mean: Float32Array;
  /** Of the part that each worker has computed last. */
  gradients: readonly Float32Array[];
  /** Sums of squares of the gradients' chunks. */
  squares: Float64Array;
}

export interface WorkerSetup {
  /** The module that exports the task. */
  module: string;
  config: unknown;
  /** Folders of the stores. */
  data: Readonly<Record<string, string>>;
  settings: Settings;
  layout: Layout;
  /** Weights in memory as they were before the first step; those that are not trained stay so. */
  initial: ReadonlyMap<string, { dtype: DType; dims: Dims; data: TensorData }>;
  arrays: SharedArrays;
  worker: number;
  workers: number;
}

export type WorkerCall =
  /** Opens the data and makes the session. Tells how many batches there are to validate with. */
  | { kind: "open" }
  /** The gradients of one part. */
  | { kind: "gradients"; step: number; part: number }
  /** Adds this worker's share of the first workers' gradients, as many as there are weights, to the mean. */
  | { kind: "reduce"; weights: readonly number[]; round: Round }
  | { kind: "update"; step: number; rate: number; clip: number }
  /** Loss and metrics of some batches of the validation's examples. */
  | { kind: "validate"; batches: readonly number[] }
  /** Frees the session; the thread ends. */
  | { kind: "close" };

export type Numbered = PartResult & { index: number };

const setup = workerData as WorkerSetup;
const { settings, layout, arrays, worker, workers } = setup;
const share = shareOf(layout.length, worker, workers);
let program: StepProgram | undefined;

async function open(): Promise<{ batches: number }> {
  const { task } = (await import(setup.module)) as { task: Task };
  const stores = Object.entries(setup.data).map(([role, folder]) => [role, Store.open(folder)] as const);
  const initial = new Map(
    [...setup.initial].map(([key, { dtype, dims, data }]) => [key, new Tensor(dtype, dims, data)] as const),
  );
  const { config } = setup;
  const base = await task.base?.(config);
  const examples = await task.open({ config, data: Object.fromEntries(stores), seed: settings.seed });
  program = await StepProgram.open(task, { config, settings, initial, base, examples });
  return { batches: program.validationBatches };
}

/** Copies and tells how long it took. */
function carry(from: Float32Array, to: Float32Array): number {
  const begin = performance.now();
  to.set(from);
  return performance.now() - begin;
}

async function gradients(step: number, part: number): Promise<Numbered> {
  // The weights have not changed since this step's first part.
  let copy = part === worker ? carry(arrays.weights, program!.weights) : 0;
  const result = await program!.train(step, part);
  copy += carry(program!.gradients, arrays.gradients[worker]!);
  return { ...result, index: part, times: { ...result.times, copy } };
}

async function validate(batches: readonly number[]): Promise<Numbered[]> {
  carry(arrays.average ?? arrays.weights, program!.weights);
  const results: Numbered[] = [];
  for (const index of batches) results.push({ ...(await program!.evaluate(index)), index });
  return results;
}

/** Neighbours that are updated alike are updated together. */
function update({ step, rate, clip }: { step: number; rate: number; clip: number }): void {
  const { betas, eps, weightDecay } = settings.optimizer;
  for (const { offset, length, decay, scale } of layout.slots) {
    const span = { begin: Math.max(share.begin, offset), end: Math.min(share.end, offset + length) };
    const options = { betas, eps, weightDecay: decay ? weightDecay : 0 };
    adamwStep(arrays, arrays.mean, span, options, { rate: rate * scale, clip, step: step + 1 });
  }
  if (arrays.average) averageStep(arrays.average, arrays.weights, share, settings.ema!, step + 1);
}

answerCalls<WorkerCall>(
  async (call) => {
    switch (call.kind) {
      case "open":
        return open();
      case "gradients":
        return gradients(call.step, call.part);
      case "reduce":
        return reduceGradients(
          arrays.mean,
          call.weights.map((weight, i) => ({ gradients: arrays.gradients[i]!, weight })),
          share,
          arrays.squares,
          call.round,
        );
      case "update":
        return update(call);
      case "validate":
        return validate(call.batches);
    }
  },
  async () => program?.dispose(),
);
