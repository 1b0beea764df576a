/** @file What a model says, as it says it. */

import { TextStream, type Tokenizer } from "../text/index.js";
import type { Context, Finish, Generation } from "./language/index.js";

/** What an answer is computed from. */
interface Start {
  /** What was read; it is the answer's own, and freed with it. */
  context: Context;
  generation: Generation;
  tokenizer: Tokenizer;
  stop: readonly string[];
  maxTokens: number;
}

/**
 * An answer in pieces of whole characters, computed as it is read. Any number of readers may read it, side by side or one
 * after another: each is told all of it, and it is computed once. When the last reader leaves before the end, what it is
 * computed from is freed; whoever reads on is told what was said at once, and waits while that is computed again.
 */
export class Answer implements AsyncIterable<string> {
  readonly #start: () => Promise<Start>;
  readonly #pieces: string[] = [];
  #text = "";
  #ids: readonly number[] = [];
  #finish: Finish | undefined;
  #outOfPositions = false;
  #isWhole = false;
  #readers = 0;
  #saying: AsyncGenerator<void, void, void> | undefined;
  /** The next token, which all readers wait for together. */
  #next: Promise<void> | undefined;

  /** @internal */
  constructor(start: () => Promise<Start>) {
    this.#start = start;
  }

  /** All that was said so far. */
  get text(): string {
    return this.#text;
  }

  /** The tokens that were said so far. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  /** Why it ended: by itself, or because it had become as long as it may; none while it goes on. */
  get finish(): Finish | undefined {
    return this.#finish;
  }

  /** Whether it ended because the language model has no more positions, before `maxTokens`; `finish` is "length". */
  get outOfPositions(): boolean {
    return this.#outOfPositions;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, void> {
    this.#readers++;
    try {
      for (let at = 0; ; ) {
        if (at < this.#pieces.length) yield this.#pieces[at++]!;
        else if (this.#isWhole) return;
        else await this.#more();
      }
    } finally {
      this.#readers--;
      if (this.#readers === 0) await this.#pause();
    }
  }

  /** The whole answer, when it is there. */
  async whole(): Promise<string> {
    for await (const _ of this);
    return this.#text;
  }

  #more(): Promise<void> {
    this.#next ??= this.#step().finally(() => {
      this.#next = undefined;
    });
    return this.#next;
  }

  async #step(): Promise<void> {
    this.#saying ??= this.#say();
    try {
      await this.#saying.next();
    } catch (error) {
      this.#saying = undefined;
      throw error;
    }
  }

  /** Frees what the answer is computed from. */
  async #pause(): Promise<void> {
    const saying = this.#saying;
    this.#saying = undefined;
    await saying?.return();
  }

  /** Computes token after token; what is known of an earlier time is not told again. */
  async *#say(): AsyncGenerator<void, void, void> {
    const { context, generation, tokenizer, stop, maxTokens } = await this.#start();
    using _ = context;
    const stream = new TextStream(tokenizer, { stop });
    let said = "";
    const tell = (text: string) => {
      said += text;
      const piece = said.slice(this.#text.length);
      if (piece === "") return;
      this.#text = said;
      this.#pieces.push(piece);
    };
    for await (const id of generation) {
      tell(stream.push(id));
      if (generation.ids.length >= this.#ids.length) this.#ids = generation.ids;
      if (stream.stopped !== undefined) break;
      this.#finish = generation.finish;
      yield;
    }
    tell(stream.end());
    this.#finish = stream.stopped === undefined ? generation.finish : "stop";
    this.#outOfPositions = this.#finish === "length" && this.#ids.length < maxTokens;
    this.#isWhole = true;
  }
}
