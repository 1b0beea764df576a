/** @file What a recipe's stages will take: time by trying a part of each here, memory and disk by counting. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { Ledger, Store } from "../data/index.js";
import { topologicalOrder, type Value } from "../graph/index.js";
import { byteSize, count, Tensor } from "../tensor/index.js";
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
} from "./stages.js";
import { planTraining, StepProgram } from "./step-program.js";
import type { Examples, TrainingGraph } from "./task.js";

export interface StageEstimate {
  name: string;
  kind: PlannedStage["stage"]["kind"];
  key: string;
  folder: string;
  status: "done" | "begun" | "to do";
  /** What there is to do: "2000 steps of 32". */
  work: string;
  /** Seconds that are left; undefined where that shows only when earlier stages are done. */
  seconds?: number;
  /** Bytes at the same time. */
  memory?: number;
  /** Bytes, what is only needed meanwhile included. */
  disk?: number;
  /** Floating-point operations that are left, and how many of them a thread does in a second. */
  flops?: { total: number; perSecond: number };
}

/** What the runtime's memory takes beside the values in it, as a share of them; and the program itself, in bytes. */
const slack = 1.25;
const programBytes = 2e8;

/** Loops and messages around the runs, as a share of them. */
const overhead = 1.05;

export async function estimateStage(planned: PlannedStage, threads: number): Promise<StageEstimate> {
  const { key, folder } = planned;
  const { name, kind } = planned.stage;
  const done = await isDone(planned);
  const begun = existsSync(join(folder, isTraining(planned) ? "metrics.jsonl" : "ledger.jsonl"));
  const common = { name, kind, key, folder, status: done ? "done" : begun ? "begun" : "to do" } as const;
  if (isTraining(planned)) return { ...common, ...(await trainingCost(planned, threads, done)) };
  if (isData(planned)) return { ...common, ...(await dataCost(planned, threads, done)) };
  return { ...common, ...exportCost(planned, done) };
}

type Cost = Omit<StageEstimate, "name" | "kind" | "key" | "folder" | "status">;

async function trainingCost(planned: PlannedTraining, threads: number, done: boolean): Promise<Cost> {
  const { settings, stage } = planned;
  const work = `${settings.steps} steps of ${settings.batch} (${stage.task})`;
  if (done) return { work };
  const { task, config } = planned;
  const weights = task.initial(config, randomAt("initial", settings.seed));
  const plan = planTraining(task, config, settings, weights);
  const program = await StepProgram.open(task, {
    config,
    settings,
    initial: weights,
    examples: exampleOf(plan.graph),
  });
  let run = Number.POSITIVE_INFINITY;
  try {
    for (let round = 0; round < 3; round++) run = Math.min(run, (await program.train(0, 0)).times.run);
  } finally {
    await program.dispose();
  }
  const live = liveBytes([plan.graph.loss, ...Object.values(plan.slopes)]);
  const session = slack * live + 2 * 4 * plan.layout.length;
  const workers = Math.min(threads, settings.parts);
  const left = settings.steps - stepsDone(planned);
  const parts = left * settings.parts;
  const arrays = 4 + settings.parts;
  const bytes = 4 * plan.layout.length;
  return {
    work,
    seconds: overhead * left * Math.ceil(settings.parts / workers) * (run / 1000),
    memory: programBytes + arrays * bytes + workers * session,
    disk: 9 * bytes,
    flops: { total: parts * plan.flops, perSecond: plan.flops / (run / 1000) },
  };
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

/** Steps in the log, of which a few may have to be done again. */
function stepsDone({ folder }: PlannedTraining): number {
  const path = join(folder, "metrics.jsonl");
  if (!existsSync(path)) return 0;
  const ledger = Ledger.open<{ step: number }>(path);
  ledger.close();
  return ledger.entries.at(-1)?.step ?? 0;
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
  await production.make(0, 1);
  const begin = performance.now();
  const made = await production.make(0, rows);
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
  };
}

function exportCost({ stage }: PlannedExport, done: boolean): Cost {
  const work = `${stage.layout} of ${stage.from.join(", ")}, ${stage.dtype}`;
  return done ? { work } : { work, seconds: 1 };
}
