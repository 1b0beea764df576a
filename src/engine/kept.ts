/** @file Rows that stay where the sessions are: runs read those of earlier runs and add their own. */

import { count, type Dims, failure, misuse, Tensor } from "../tensor/index.js";
import { alignedTensors } from "./aligned.js";
import type { Engine } from "./engine.js";
import type { Feeds, Host, KeptRun, KeptTensor } from "./host.js";

/** Room for so many rows is made at first. */
const firstRoom = 64;

/** How much more room than is needed is made when rows have outgrown it. */
const growth = 1.5;

/** All rows that one host keeps. Reading copies nothing; adding copies the new rows. */
export class RowStore {
  readonly #kept = new Map<number, Map<string, Tensor>>();

  /** The first `at` rows of each input, [at, ...], as they lie; zeros where nothing was written. */
  read({ id, at, tensors }: KeptRun): Feeds {
    return Object.fromEntries(tensors.map((one) => [one.input, firstRows(this.#room(id, one, at), at)]));
  }

  /** Takes the outputs out of a run's results and writes their rows from row `at` on. */
  take({ id, at, tensors }: KeptRun, results: Record<string, Pick<Tensor, "data">>): void {
    for (const one of tensors) {
      const data = results[one.output]!.data as Float32Array;
      const row = count(one.dims);
      delete results[one.output];
      (this.#room(id, one, at + data.length / row).data as Float32Array).set(data, at * row);
    }
  }

  drop(id: number): void {
    this.#kept.delete(id);
  }

  #room(id: number, { input, dims }: KeptTensor, rows: number): Tensor {
    const kept = this.#kept.get(id) ?? new Map<string, Tensor>();
    this.#kept.set(id, kept);
    const known = kept.get(input);
    const had = known?.dims[0] ?? 0;
    if (known && rows <= had) return known;
    const room = Math.max(firstRoom, rows, had === 0 ? 0 : Math.ceil(rows * growth));
    const { made } = alignedTensors({ made: { dtype: "f32", dims: [room, ...dims] } });
    if (known) (made.data as Float32Array).set(known.data as Float32Array);
    kept.set(input, made);
    return made;
  }
}

function firstRows({ dtype, dims, data }: Tensor, rows: number): Tensor {
  const own: Dims = dims.slice(1);
  return new Tensor(dtype, [rows, ...own], (data as Float32Array).subarray(0, rows * count(own)));
}

let last = 0;

/**
 * Rows of a program that its runs share, kept where it computes: an output's rows [n, ...] are written after those that
 * an input [at, ...] read. A transformer's keys and values are such. Given to `Program.run`.
 */
export class KeptRows {
  readonly #id = ++last;
  #host: Host | undefined;

  /** @param tensors which output's rows each input reads in later runs, and the shape of one row */
  constructor(
    readonly engine: Engine,
    readonly tensors: readonly KeptTensor[],
  ) {}

  /** Whether what was written is gone, with the process that computed it. */
  get lost(): boolean {
    return this.#host !== undefined && !this.#host.alive;
  }

  /**
   * @param at how many rows the run sees, from 1; its own are written after them
   * @throws DiffsightError ROWS_LOST, ROWS
   * @internal
   */
  on(host: Host, at: number): KeptRun {
    if (!Number.isInteger(at) || at < 1) throw misuse("ROWS", `A run sees 1 row or more, not ${at}.`);
    if (this.#host && this.#host !== host) {
      throw failure("ROWS_LOST", "The rows of earlier runs are gone with the process that computed them.");
    }
    this.#host = host;
    return { id: this.#id, at, tensors: this.tensors };
  }

  /** Gives the memory back; the next run begins anew. */
  async release(): Promise<void> {
    const host = this.#host;
    this.#host = undefined;
    if (host?.alive) await this.engine.drop(host, this.#id);
  }
}
