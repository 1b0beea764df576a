/** @file Token after token: what a language model says after a context. */

import type { CallOptions } from "../../engine/index.js";
import { aborted, misuse, TorchGenerator } from "../../tensor/index.js";
import type { Context, ContextMemory } from "./context.js";
import { checkSampling, type SamplingOptions, sampleToken } from "./sampling.js";

/** Why an answer ended: by itself, or because it had become as long as it may. */
export type Finish = "stop" | "length";

export interface GenerateOptions extends SamplingOptions, CallOptions {
  /** Default 512. The text never grows longer than the positions that the network knows. */
  maxTokens?: number;
  /** Of the draws, where the temperature is above 0; sequence number i of several draws with seed + i. Default 0. */
  seed?: number;
  /** Goes on after tokens that end an answer, which are told like others. */
  ignoreEos?: boolean;
  /** Asked after each token with all that were told: true ends the answer. */
  stop?: (ids: readonly number[]) => boolean;
  /** Keeps what was read and said, for what follows: `context`, to be released. */
  keepContext?: boolean;
}

/** A token of one of several sequences. */
export interface GeneratedToken {
  /** Which of the prompts it follows. */
  sequence: number;
  id: number;
}

/** What generation needs to know of a network. */
export interface GenerationLimits {
  eosTokenIds: readonly number[];
  /** Tokens of the longest text. */
  maxLength: number;
}

/**
 * The answers to several contexts, a token of each in turn. Tokens that end an answer are not told. The last bits of
 * scores depend on what is computed beside them: with equal scores so may the tokens.
 */
export class BatchGeneration implements AsyncIterable<GeneratedToken> {
  /** What each sequence said so far. */
  readonly ids: number[][];
  /** Why each ended; none while it goes on. */
  readonly finish: (Finish | undefined)[];
  readonly #memory: ContextMemory;
  readonly #limits: GenerationLimits;
  readonly #options: GenerateOptions;
  readonly #open: () => Context[];
  #contexts: Context[] | undefined;
  #isStarted = false;

  /**
   * @param open gives the contexts to go on from, which belong to the generation
   * @internal
   */
  constructor(
    memory: ContextMemory,
    limits: GenerationLimits,
    sequences: number,
    options: GenerateOptions,
    open: () => Context[],
  ) {
    const { maxTokens = 512 } = options;
    if (!Number.isInteger(maxTokens) || maxTokens < 1) {
      throw misuse("MAX_TOKENS", `maxTokens must be a whole number from 1, not ${maxTokens}.`);
    }
    checkSampling(options);
    this.ids = Array.from({ length: sequences }, () => []);
    this.finish = Array.from({ length: sequences }, () => undefined);
    this.#memory = memory;
    this.#limits = limits;
    this.#options = options;
    this.#open = open;
  }

  /** What was read and said, once the generation has ended; where `keepContext` asked for it. */
  get contexts(): readonly Context[] {
    if (!this.#contexts)
      throw misuse("CONTEXT", "No context was kept: ask for keepContext, and read to the end.");
    return this.#contexts;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void, void> {
    const { maxTokens = 512, seed = 0, ignoreEos = false, stop, keepContext, signal } = this.#options;
    if (this.#isStarted)
      throw misuse("GENERATION", "A generation is read once: ask again for another answer.");
    this.#isStarted = true;
    const sampling = checkSampling(this.#options);
    const contexts = this.#open();
    const random = contexts.map((_, i) => new TorchGenerator(seed + i));
    const ends = new Set(ignoreEos ? [] : this.#limits.eosTokenIds);
    let kept = false;
    try {
      for (let going = [...contexts.keys()]; going.length > 0; ) {
        await this.#memory.fill(
          going.map((i) => contexts[i]!),
          { signal },
        );
        const saying: number[] = [];
        for (const i of going) {
          const context = contexts[i]!;
          const occurred = sampling.repetitionPenalty === 1 ? [] : context.ids;
          const id = sampleToken(this.#memory.logits(context), sampling, occurred, random[i]!);
          if (ends.has(id)) {
            this.finish[i] = "stop";
            continue;
          }
          const ids = this.ids[i]!;
          ids.push(id);
          context.rows.push(id);
          if (stop?.(ids)) this.finish[i] = "stop";
          else if (ids.length >= maxTokens || context.length >= this.#limits.maxLength)
            this.finish[i] = "length";
          else saying.push(i);
          yield { sequence: i, id };
          if (signal?.aborted) throw aborted();
        }
        going = saying;
      }
      if (keepContext) {
        await this.#memory.fill(contexts, { signal });
        this.#contexts = contexts;
        kept = true;
      }
    } finally {
      if (!kept) for (const context of contexts) context.release();
    }
  }
}

/** One answer: its token ids, as they come. */
export class Generation implements AsyncIterable<number> {
  readonly #batch: BatchGeneration;

  /** @internal */
  constructor(batch: BatchGeneration) {
    this.#batch = batch;
  }

  /** What was said so far. */
  get ids(): readonly number[] {
    return this.#batch.ids[0]!;
  }

  /** Why it ended; none while it goes on. */
  get finish(): Finish | undefined {
    return this.#batch.finish[0];
  }

  /** What was read and said, once it has ended; where `keepContext` asked for it. */
  get context(): Context {
    return this.#batch.contexts[0]!;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<number, void, void> {
    for await (const { id } of this.#batch) yield id;
  }
}
