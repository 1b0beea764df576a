/**
 * @file The worker threads of a training run, seen from the thread that leads them. Sums are taken in the order of the
 * parts, whoever computed them: the bits do not depend on the number of threads, nor on who is done first.
 */

import { failure } from "../tensor/index.js";
import { chunkSize, globalNorm } from "./optimizer.js";
import type { Settings } from "./settings.js";
import type { PartResult, PartTimes } from "./step-program.js";
import { closeThreads, Thread } from "./thread.js";
import type { Numbered, SharedArrays, WorkerCall, WorkerSetup } from "./worker.js";

/** Loss and metrics: means over parts, or over batches. */
export interface Scores {
  loss: number;
  metrics: Record<string, number>;
}

/** With what was left out. */
export interface WarnedScores extends Scores {
  warnings: readonly string[];
}

export interface StepScores extends WarnedScores {
  /** Of all gradients together, before clipping. */
  norm: number;
  /** How much the parts count together: 0 where nothing of the step can be learnt. */
  weight: number;
  /** Milliseconds: the sum over rounds of the slowest thread's. */
  times: PartTimes;
}

/** How many threads have work to do at once: each computes a part. */
export function workersOf({ parts }: Pick<Settings, "parts">, threads: number): number {
  return Math.min(threads, parts);
}

/** The flat arrays of a run, zeros, in memory that threads share. */
export function sharedArrays(length: number, workers: number, averaged: boolean): SharedArrays {
  const zeros = () => {
    try {
      return new Float32Array(new SharedArrayBuffer(4 * length));
    } catch (cause) {
      const arrays = 4 + workers + (averaged ? 1 : 0);
      throw failure(
        "OUT_OF_MEMORY",
        `Training needs ${arrays} arrays of ${4 * length} bytes: memory does not suffice.`,
        cause,
      );
    }
  };
  return {
    weights: zeros(),
    first: zeros(),
    second: zeros(),
    average: averaged ? zeros() : undefined,
    mean: zeros(),
    gradients: Array.from({ length: workers }, zeros),
    squares: new Float64Array(new SharedArrayBuffer(8 * Math.ceil(length / chunkSize))),
  };
}

export type TeamSetup = Omit<WorkerSetup, "worker" | "workers"> & { threads: number };

export class Team {
  private constructor(
    readonly setup: TeamSetup,
    readonly members: readonly Thread<WorkerCall>[],
    /** Batches of the validation. */
    readonly batches: number,
  ) {}

  /** Starts threads, no more than there are parts, and opens the task in each. */
  static async open({ threads, ...setup }: TeamSetup): Promise<Team> {
    const workers = workersOf(setup.settings, threads);
    const members = Array.from(
      { length: workers },
      (_, worker) => new Thread<WorkerCall>("worker", { ...setup, worker, workers } satisfies WorkerSetup),
    );
    try {
      const opened = await Promise.all(members.map((one) => one.call<{ batches: number }>({ kind: "open" })));
      return new Team({ threads, ...setup }, members, opened[0]!.batches);
    } catch (error) {
      await closeThreads(members);
      throw error;
    }
  }

  /** Computes the mean gradients of a step, as many parts at once as there are threads; nothing is updated yet. */
  async gradients(step: number): Promise<StepScores> {
    const { parts } = this.setup.settings;
    const times: PartTimes = { data: 0, run: 0, copy: 0 };
    const results: Numbered[] = [];
    for (let first = 0; first < parts; first += this.members.length) {
      const busy = this.members.slice(0, parts - first);
      const calls = busy.map((one, i) => one.call<Numbered>({ kind: "gradients", step, part: first + i }));
      const round = await Promise.all(calls);
      for (const kind of Object.keys(times) as (keyof PartTimes)[])
        times[kind] += Math.max(...round.map((one) => one.times[kind]));
      results.push(...round);
      const ends = results.length === parts ? weightOf(results) : undefined;
      const weights = round.map(({ weight }) => weight);
      await this.#all({ kind: "reduce", weights, round: { begins: first === 0, ends } });
    }
    const norm = globalNorm(this.setup.arrays.squares);
    return { ...scoresOf(results), norm, weight: weightOf(results), times };
  }

  async update(step: number, { rate, clip }: { rate: number; clip: number }): Promise<void> {
    await this.#all({ kind: "update", step, rate, clip });
  }

  /** With the moving average of the weights where there is one. */
  async validate(): Promise<WarnedScores> {
    const shares = this.members.map((member, worker) => {
      const batches = Array.from({ length: this.batches }, (_, i) => i);
      const own = batches.filter((batch) => batch % this.members.length === worker);
      return member.call<Numbered[]>({ kind: "validate", batches: own });
    });
    return scoresOf((await Promise.all(shares)).flat());
  }

  async close(): Promise<void> {
    await closeThreads(this.members);
  }

  #all<T>(call: WorkerCall): Promise<T[]> {
    return Promise.all(this.members.map((member) => member.call<T>(call)));
  }
}

function weightOf(results: readonly PartResult[]): number {
  return results.reduce((sum, { weight }) => sum + weight, 0);
}

function scoresOf(results: Numbered[]): WarnedScores {
  const ordered = results.toSorted((a, b) => a.index - b.index);
  const total = weightOf(ordered);
  const mean = (numbers: number[]) =>
    total === 0 ? 0 : numbers.reduce((sum, one, i) => sum + one * ordered[i]!.weight, 0) / total;
  const names = Object.keys(ordered[0]?.metrics ?? {});
  return {
    loss: mean(ordered.map(({ loss }) => loss)),
    metrics: Object.fromEntries(
      names.map((name) => [name, mean(ordered.map(({ metrics }) => metrics[name]!))]),
    ),
    warnings: ordered.flatMap(({ warnings }) => warnings),
  };
}
