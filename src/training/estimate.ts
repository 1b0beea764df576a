/** @file What a recipe's stages will take: time by trying a part of each here, memory and disk by counting. */

import { totalmem } from "node:os";
import { Store } from "../data/index.js";
import { isOp, topologicalOrder, type Value } from "../graph/index.js";
import { byteSize, count, Tensor } from "../tensor/index.js";
import { countedSettings } from "./make-weights.js";
import { randomAt } from "./order.js";
import type { ProducerRequest } from "./producer.js";
import {
  dataFolders,
  isData,
  isDone,
  isTraining,
  type PlannedData,
  type PlannedExport,
  type PlannedStage,
  type PlannedTraining,
  type StageStatus,
  statusOf,
} from "./stages.js";
import { loggedSteps } from "./step-log.js";
import { planTraining, StepProgram, type TrainingPlan } from "./step-program.js";
import type { Examples, TrainingGraph, Weights } from "./task.js";
import { workersOf } from "./team.js";
import { parametersOf } from "./weights.js";

export interface StageEstimate {
  name: string;
  kind: PlannedStage["stage"]["kind"];
  key: string;
  folder: string;
  status: StageStatus;
  /** What there is to do: "2000 steps of 32". */
  work: string;
  /** Seconds that are left; undefined where that shows only when earlier stages are done. */
  seconds?: number;
  /** Bytes at the same time. */
  memory?: number;
  /** Bytes, what is only needed meanwhile included. */
  disk?: number;
  /** What to look at twice before it begins. */
  warnings?: readonly string[];
  /** Floating-point operations that are left, and how many of them a thread does in a second. */
  flops?: { total: number; perSecond: number };
}

/** What the runtime's memory takes beside the values in it, as a share of them; and the program itself, in bytes. */
const slack = 1.25;
const programBytes = 2e8;

/** Matrices widened from half precision that are there at once, and what the runtime keeps of their memory. */
const widenedTimes = 5;

/** Loops and messages around the runs, as a share of them. */
const overhead = 1.05;

export async function estimateStage(planned: PlannedStage, threads: number): Promise<StageEstimate> {
  const { key, folder } = planned;
  const { name, kind } = planned.stage;
  const status = await statusOf(planned);
  const done = status === "done";
  const common = { name, kind, key, folder, status };
  if (isTraining(planned)) return { ...common, ...(await trainingCost(planned, threads, done)) };
  if (isData(planned)) return { ...common, ...(await dataCost(planned, threads, done)) };
  return { ...common, ...exportCost(planned, done) };
}

type Cost = Omit<StageEstimate, "name" | "kind" | "key" | "folder" | "status">;

async function trainingCost(planned: PlannedTraining, threads: number, done: boolean): Promise<Cost> {
  const { stage, task, config } = planned;
  const { steps, batch, parts, seed } = planned.settings;
  const warnings = task.warnings?.(config, planned.settings) ?? [];
  const weights = task.initial(config, randomAt("initial", seed));
  const base = await task.base?.(config);
  const plan = planTraining(task, config, planned.settings, weights, base);
  const trained = plan.layout.slots.reduce((sum, { length }) => sum + length, 0);
  const ready = (await Promise.all([...planned.needs.values()].map(isDone))).every(Boolean);
  const countable = typeof steps === "number" || ready;
  const settings = countable ? await countedSettings(planned) : { ...planned.settings, steps: Number.NaN };
  const work = `${countable ? `${settings.steps} steps` : inEpochs(steps.epochs)} of ${batch} (${stage.task}) of ${inMillions(trained)} parameters`;
  if (done) return { work };

  const live = liveBytes([plan.graph.loss, ...Object.values(plan.slopes)]);
  const frozen = frozenBytes(plan, weights);
  const bytes = 4 * plan.layout.length;
  const workers = workersOf(planned.settings, threads);
  const session = slack * live + 2 * bytes + frozen.widened;
  // Weights, both moments, the mean of the gradients, a moving average, and each worker's gradients.
  const arrays = 4 + (planned.settings.ema ? 1 : 0) + workers;
  const memory = programBytes + arrays * bytes + workers * session + frozen.mapped;
  // Weights, and two checkpoints of them and of both moments.
  const cost = { work, warnings, memory, disk: 9 * bytes };
  // What does not fit cannot be tried.
  if (memory > totalmem()) return cost;

  const examples = ready ? await openExamples(planned) : exampleOf(plan.graph);
  const program = await StepProgram.open(task, { config, settings, initial: weights, base, examples });
  let run = Number.POSITIVE_INFINITY;
  let data = Number.POSITIVE_INFINITY;
  try {
    for (let round = 0; round < 3; round++) {
      const { times } = await program.train(0, 0);
      run = Math.min(run, times.run / 1000);
      data = Math.min(data, times.data / 1000);
    }
  } finally {
    await program.dispose();
  }
  // A few of those in the log may have to be done again.
  const left = settings.steps - ((await loggedSteps(planned.folder)).at(-1)?.step ?? 0);
  const seconds = overhead * left * Math.ceil(parts / workers) * (run + data);
  return {
    ...cost,
    ...(Number.isFinite(seconds) && {
      seconds,
      flops: { total: left * parts * plan.flops, perSecond: plan.flops / run },
    }),
  };
}

const inEpochs = (epochs: number) => `${epochs} ${epochs === 1 ? "epoch" : "epochs"}`;
const inMillions = (numbers: number) => `${(numbers / 1e6).toPrecision(3)} M`;

/** The task's own data, for as long as the process lives: batches are what takes time where encoders run in them. */
function openExamples(planned: PlannedTraining): Promise<Examples> {
  const { task, config, settings } = planned;
  const folders = Object.entries(dataFolders(planned));
  const data = Object.fromEntries(folders.map(([role, folder]) => [role, Store.open(folder)]));
  return task.open({ config, data, seed: settings.seed });
}

/** Frozen weights: what is mapped from files, which threads share, and what each widens from half precision at once. */
function frozenBytes({ graph, layout }: TrainingPlan, weights: Weights): { mapped: number; widened: number } {
  const trained = new Set(layout.slots.map(({ key }) => key));
  let [mapped, widened] = [0, 0];
  for (const [key, [value]] of parametersOf(graph)) {
    if (trained.has(key) || weights.has(key) || !isOp(value!, "parameter")) continue;
    const { storage, stored } = value.attributes;
    mapped += ("file" in storage ? storage : storage.bytes).length;
    if (stored !== "f32") widened = Math.max(widened, widenedTimes * 4 * count(value.dims));
  }
  return { mapped, widened };
}

/** The most bytes of intermediate values that are needed at once, in the order in which the graph is written. */
function liveBytes(outputs: readonly Value[]): number {
  const order = topologicalOrder(outputs);
  const uses = new Map<Value, number>();
  for (const value of order) for (const one of value.inputs) uses.set(one, (uses.get(one) ?? 0) + 1);
  const bytesOf = ({ op, dims, dtype }: Value) =>
    op === "parameter" || op === "reshape" ? 0 : count(dims) * byteSize(dtype);
  let [live, most] = [0, 0];
  for (const value of order) {
    live += bytesOf(value);
    most = Math.max(most, live);
    for (const one of value.inputs) {
      const left = uses.get(one)! - 1;
      uses.set(one, left);
      if (left === 0) live -= bytesOf(one);
    }
  }
  return most;
}

/** Numbers in the shapes of a graph's inputs: its time does not depend on what they are. */
function exampleOf({ inputs }: TrainingGraph): Examples {
  const random = randomAt("initial", 0);
  const tensors = Object.values(inputs).map(({ attributes: { name }, dims, dtype }): [string, Tensor] => {
    const tensor = dtype === "f32" ? random.randn(dims) : undefined;
    return [name, tensor ?? Tensor.f32(dims).to(dtype)];
  });
  return { train: 1, validation: 1, batch: () => Object.fromEntries(tensors) };
}

/** Rows that are tried. */
const tried = 8;

async function dataCost(planned: PlannedData, threads: number, done: boolean): Promise<Cost> {
  const { stage, producer, config } = planned;
  if (done) {
    using store = Store.open(planned.folder);
    return { work: `${store.rows} rows (${stage.producer})` };
  }
  const ready = await Promise.all([...planned.needs.values()].map(isDone));
  if (!ready.every(Boolean) || Object.keys(stage.models).length > 0) {
    const names = [...planned.needs.keys()].join(", ");
    return {
      work: `rows (${stage.producer}), known when ${names} ${planned.needs.size > 1 ? "are" : "is"} done`,
    };
  }
  const folders = Object.entries(dataFolders(planned));
  const data = Object.fromEntries(folders.map(([role, folder]) => [role, Store.open(folder)]));
  const request: ProducerRequest<unknown> = { config, data, models: {} };
  const production = await producer.open(request);
  const rows = Math.min(tried, production.count);
  await production.make(0, 1, () => {});
  const begin = performance.now();
  const made = await production.make(0, rows, () => {});
  const each = (performance.now() - begin) / 1000 / rows;
  await production.release?.();
  const columns = Object.values(production.columns);
  const line = made.lines ? JSON.stringify(made.lines).length / rows : 0;
  const row = columns.reduce((sum, { dtype, dims }) => sum + byteSize(dtype) * count(dims), line);
  return {
    work: `${production.count} rows (${stage.producer})`,
    seconds: (each * production.count) / threads,
    memory: threads * stage.shard * row * 3,
    disk: production.count * row,
    ...(production.warnings && { warnings: production.warnings }),
  };
}

function exportCost({ stage }: PlannedExport, done: boolean): Cost {
  const work = `${stage.layout} of ${stage.from.join(", ")}, ${stage.dtype}`;
  return done ? { work } : { work, seconds: 1 };
}
