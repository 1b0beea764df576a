/**
 * @file The worker threads of a training run, seen from the thread that leads them. Sums are taken in the order of the
 * parts, whoever computed them: the bits do not depend on the number of threads, nor on who is done first.
 */

import { failure } from "../tensor/index.js";
import { chunkSize, globalNorm } from "./optimizer.js";
import type { PartTimes } from "./step-program.js";
import { closeThreads, Thread } from "./thread.js";
import type { Numbered, SharedArrays, WorkerCall, WorkerSetup } from "./worker.js";

/** Loss and metrics: means over parts, or over batches. */
export interface Scores {
  loss: number;
  metrics: Record<string, number>;
}

export interface StepScores extends Scores {
  /** Of all gradients together, before clipping. */
  norm: number;
  /** Milliseconds: a thread's longest of each. */
  times: PartTimes;
}

/** The flat arrays of a run, zeros, in memory that threads share. */
export function sharedArrays(length: number, parts: number, averaged: boolean): SharedArrays {
  const zeros = () => {
    try {
      return new Float32Array(new SharedArrayBuffer(4 * length));
    } catch (cause) {
      const arrays = 3 + parts + (averaged ? 1 : 0);
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
    gradients: Array.from({ length: parts }, zeros),
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
    const workers = Math.min(threads, setup.settings.parts);
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

  /** Computes the mean gradients of a step; nothing is updated yet. */
  async gradients(step: number): Promise<StepScores> {
    const results = await this.#all<Numbered[]>({ kind: "gradients", step });
    await this.#all({ kind: "reduce" });
    const longest = (kind: keyof PartTimes) =>
      Math.max(...results.map((parts) => parts.reduce((sum, { times }) => sum + times[kind], 0)));
    return {
      ...scoresOf(results.flat()),
      norm: globalNorm(this.setup.arrays.squares),
      times: { data: longest("data"), run: longest("run"), copy: longest("copy") },
    };
  }

  async update(step: number, { rate, clip }: { rate: number; clip: number }): Promise<void> {
    await this.#all({ kind: "update", step, rate, clip });
  }

  /** With the moving average of the weights where there is one. */
  async validate(): Promise<Scores> {
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

function scoresOf(results: Numbered[]): Scores {
  const ordered = results.toSorted((a, b) => a.index - b.index);
  const mean = (numbers: number[]) => numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
  const names = Object.keys(ordered[0]?.metrics ?? {});
  return {
    loss: mean(ordered.map(({ loss }) => loss)),
    metrics: Object.fromEntries(
      names.map((name) => [name, mean(ordered.map(({ metrics }) => metrics[name]!))]),
    ),
  };
}
