/** @file What a language model has read: texts as branches of one memory, which share what they have in common. */

import type { CallOptions } from "../../engine/index.js";
import { aborted, misuse } from "../../tensor/index.js";
import type { LanguageNetwork, NetworkRow } from "./network.js";
import type { PromptRow } from "./prompt.js";

/** So many rows are computed at a time: enough for products to be fast, few enough to be stopped between. */
const rowsPerRun = 256;

/** Kept rows [from, to). */
type Range = readonly [from: number, to: number];

/** What is kept of a context. */
interface Place {
  /** Rows of an earlier epoch are gone, with the process that kept them. */
  epoch: number;
  /** How many of its own rows are computed. */
  filled: number;
  /** Its rows from the beginning on. */
  ranges: readonly Range[];
  /** Scores of the token after the last of them [vocab_size]. */
  logits: Float32Array;
}

/**
 * A text that was read, up to its last token. Others may go on from it, each in its own way: what they share is computed
 * and kept once. Release it when nothing goes on from it any more.
 */
export class Context {
  /** @internal */
  place: Place | undefined;
  /** @internal */
  isReleased = false;
  /** Tokens before its own. */
  readonly #start: number;

  /** @internal */
  constructor(
    readonly memory: ContextMemory,
    readonly parent: Context | undefined,
    /** What it adds to its parent. */
    readonly rows: PromptRow[],
  ) {
    this.#start = parent?.length ?? 0;
  }

  /** Tokens from the beginning. */
  get length(): number {
    return this.#start + this.rows.length;
  }

  /** Ids from the beginning, embeddings left out. */
  get ids(): number[] {
    return [...(this.parent?.ids ?? []), ...this.rows.filter((row) => typeof row === "number")];
  }

  /** Frees its rows, except those that another context which went on from it has. */
  release(): void {
    this.memory.release(this);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** Takes the scores of the token after a row: `position` counts from the beginning of the context. */
export type TakeScores = (context: Context, position: number, logits: Float32Array) => void;

/** One context's part of the work: what it has already, and the rows that it lacks. */
interface Lane {
  context: Context;
  ranges: readonly Range[];
  start: number;
  rows: readonly PromptRow[];
  done: number;
}

/** Gives contexts their rows, which lie in the order in which they were computed. */
export class ContextMemory {
  readonly #live = new Set<Context>();
  #queue: Promise<unknown> = Promise.resolve();
  #epoch = 0;

  constructor(readonly network: LanguageNetwork) {}

  /** A context that goes on from another; nothing is computed yet. */
  branch(after: Context | undefined, rows: readonly PromptRow[]): Context {
    if (after && after.memory !== this) throw misuse("CONTEXT", "This context belongs to another model.");
    if (!after && rows.length === 0) throw misuse("PROMPT", "A prompt has one token or more.");
    return new Context(this, after, [...rows]);
  }

  /**
   * Computes what contexts lack, all together.
   * @param take gets the scores after every row that is computed; without it those after the last are kept alone
   * @throws DiffsightError ABORTED, at once; what computes then ends its run
   */
  async fill(contexts: readonly Context[], { signal }: CallOptions = {}, take?: TakeScores): Promise<void> {
    if (signal?.aborted) throw aborted();
    const work = this.#queue.then(() => this.#fill(contexts, signal, take));
    this.#queue = work.catch(() => {});
    await untilAborted(work, signal);
  }

  /** Forgets a context: rows that no other has are overwritten sooner or later. */
  release(context: Context): void {
    this.#live.delete(context);
    context.isReleased = true;
    context.place = undefined;
  }

  /** The scores of the token after a context that is filled [vocab_size]. */
  logits(context: Context): Float32Array {
    return context.place!.logits;
  }

  async #fill(
    contexts: readonly Context[],
    signal: AbortSignal | undefined,
    take: TakeScores | undefined,
  ): Promise<void> {
    if (this.network.kept.lost) {
      await this.network.kept.release();
      this.#epoch++;
    }
    const lanes = contexts.flatMap((context) => this.#lane(context) ?? []);
    for (let first = 0; first < lanes.length; ) {
      if (signal?.aborted) throw aborted();
      first = await this.#run(lanes, first, take);
    }
  }

  #isHere({ place }: Context): boolean {
    return place?.epoch === this.#epoch;
  }

  /** What is to be computed for a context after what it or the nearest of its ancestors has. */
  #lane(context: Context): Lane | undefined {
    const missing: PromptRow[][] = [];
    let one: Context | undefined = context;
    while (one && !this.#isHere(one)) {
      missing.unshift(one.rows);
      one = one.parent;
    }
    const { filled, ranges, logits } = one?.place ?? { filled: 0, ranges: [], logits: undefined };
    const own = one === context ? one.rows.slice(filled) : [];
    const rows = [...own, ...missing.flat()];
    if (rows.length > 0) return { context, ranges, start: context.length - rows.length, rows, done: 0 };
    if (one !== context) this.#place(context, ranges, logits!);
    return undefined;
  }

  #place(context: Context, ranges: readonly Range[], logits: Float32Array): void {
    // Its reader may have left in the middle of the run.
    if (context.isReleased) return;
    context.place = { epoch: this.#epoch, filled: context.rows.length, ranges, logits };
    this.#live.add(context);
  }

  /**
   * One run, of up to `rowsPerRun` rows of one context after another.
   * @returns the first lane that is not done
   */
  async #run(lanes: readonly Lane[], first: number, take: TakeScores | undefined): Promise<number> {
    const rows: NetworkRow[] = [];
    const parts: { lane: Lane; from: number; to: number }[] = [];
    const ends: { lane: Lane; row: number; position: number }[] = [];
    for (const lane of lanes.slice(first)) {
      const from = rows.length;
      if (from === rowsPerRun) break;
      const some = lane.rows.slice(lane.done, lane.done + rowsPerRun - from);
      const { ranges: sees, start, done } = lane;
      for (const [k, row] of some.entries()) {
        const position = start + done + k;
        if (take || done + k === lane.rows.length - 1) ends.push({ lane, row: rows.length, position });
        rows.push({ row, position, length: lane.context.length, sees, from });
      }
      lane.done += some.length;
      parts.push({ lane, from, to: rows.length });
    }
    const seen = parts.flatMap(({ lane }) => lane.ranges);
    const at = this.#free(
      rows.length,
      seen,
      lanes.flatMap(({ ranges }) => ranges),
    );
    for (const { lane, from, to } of parts) lane.ranges = joined(lane.ranges, [at + from, at + to]);
    const logits = await this.network.run(
      rows,
      at,
      ends.map(({ row }) => row),
    );
    const width = logits.dims[1]!;
    for (const [k, { lane, position }] of ends.entries()) {
      const own = (logits.data as Float32Array).subarray(k * width, (k + 1) * width);
      take?.(lane.context, position, own);
      if (position === lane.context.length - 1) this.#place(lane.context, lane.ranges, own.slice());
    }
    const open = lanes.findIndex(({ rows, done }) => done < rows.length);
    return open === -1 ? lanes.length : open;
  }

  /**
   * The first place for so many rows: after all that they see, where nobody else's are. The first row of all is of zeros:
   * the runtime computes nothing with 0 rows.
   * @param own what contexts that are being filled have
   */
  #free(count: number, seen: readonly Range[], own: readonly Range[]): number {
    let at = seen.reduce((top, [, to]) => Math.max(top, to), 1);
    const inUse = [...this.#live].flatMap(({ place }) => place!.ranges).concat(own);
    for (const [from, to] of inUse.sort(([a], [b]) => a - b)) {
      if (from >= at + count) break;
      at = Math.max(at, to);
    }
    return at;
  }
}

/** With one more range, which may be the last one's continuation. */
function joined(ranges: readonly Range[], next: Range): Range[] {
  const last = ranges.at(-1);
  return last?.[1] === next[0] ? [...ranges.slice(0, -1), [last[0], next[1]]] : [...ranges, next];
}

/** The work's result, or its end at once when the signal fires; the work itself goes on to the end of its run. */
async function untilAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return work;
  let cancel = () => {};
  const cancelled = new Promise<never>((_, reject) => {
    cancel = () => reject(aborted());
    signal.addEventListener("abort", cancel, { once: true });
  });
  try {
    await Promise.race([work, cancelled]);
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}
