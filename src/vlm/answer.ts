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
}

/** An answer in pieces of whole characters. It is computed as it is read, once. */
export class Answer implements AsyncIterable<string> {
  readonly #start: () => Promise<Start>;
  #generation: Generation | undefined;
  #text = "";
  #stopped = false;

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
    return this.#generation?.ids ?? [];
  }

  /** Why it ended: by itself, or because it had become as long as it may; none while it goes on. */
  get finish(): Finish | undefined {
    return this.#stopped ? "stop" : this.#generation?.finish;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, void> {
    const { context, generation, tokenizer, stop } = await this.#start();
    using _ = context;
    this.#generation = generation;
    const stream = new TextStream(tokenizer, { stop });
    const tell = (piece: string) => {
      this.#text += piece;
      return piece;
    };
    for await (const id of generation) {
      const piece = tell(stream.push(id));
      if (piece !== "") yield piece;
      if (stream.stopped === undefined) continue;
      this.#stopped = true;
      break;
    }
    const rest = tell(stream.end());
    if (rest !== "") yield rest;
  }

  /** The whole answer, when it is there. */
  async whole(): Promise<string> {
    for await (const _ of this);
    return this.#text;
  }
}
