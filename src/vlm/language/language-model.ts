/** @file A language model that is ready to read and to speak: token ids and embeddings in, token ids out. */

import { z } from "zod";
import { type CallOptions, Engine, type EngineOptions } from "../../engine/index.js";
import { type LlamaConfig, longestSequence, readConfig, readLanguageConfig } from "../../models/index.js";
import { misuse } from "../../tensor/index.js";
import { type Checkpoint, type ModelFolder, type OpenOptions, openModel } from "../../weights/index.js";
import { Context, ContextMemory } from "./context.js";
import { BatchGeneration, type GenerateOptions, Generation } from "./generation.js";
import { LanguageNetwork } from "./network.js";
import { type Prompt, promptRows } from "./prompt.js";

export interface LanguageModelOptions extends OpenOptions, Omit<EngineOptions, "passes"> {
  /** Computes on this engine, which stays the caller's, instead of one of its own. */
  engine?: Engine;
}

export interface ReadOptions extends CallOptions {
  /** Goes on from what was read already. */
  after?: Context;
}

/** A text that may follow a context. */
export interface Continuation {
  after: Context;
  ids: readonly number[];
}

/** What a prompt is, or a context that was read already. */
export type PromptOrContext = Prompt | Context;

export class LanguageModel {
  readonly #network: LanguageNetwork;
  readonly #memory: ContextMemory;
  readonly #ownsEngine: boolean;

  private constructor(
    readonly engine: Engine,
    readonly config: LlamaConfig,
    checkpoint: Checkpoint,
    /** Those that end an answer. */
    readonly eosTokenIds: readonly number[],
    /** Where a call says none. */
    readonly repetitionPenalty: number,
    ownsEngine: boolean,
  ) {
    this.#network = new LanguageNetwork(engine, checkpoint, config);
    this.#memory = new ContextMemory(this.#network);
    this.#ownsEngine = ownsEngine;
  }

  /**
   * Opens a folder in transformers' layout, or a hub's id: LLaMA, Qwen2, and what `diffsight quantize` makes of them.
   * Weights are read when they are first needed, or by `prepare`.
   * @throws DiffsightError CONFIG, WEIGHT_MISSING; what opening a model may raise
   */
  static async fromPretrained(idOrPath: string, options: LanguageModelOptions = {}): Promise<LanguageModel> {
    const folder = await openModel(idOrPath, options);
    return LanguageModel.open(await folder.json("config.json"), await folder.checkpoint(""), {
      ...options,
      ...(await readGenerationConfig(folder)),
    });
  }

  /**
   * The same from its parts.
   * @param json its config.json
   * @param options with what `readGenerationConfig` finds; by default answers end where the config says
   */
  static async open(
    json: unknown,
    checkpoint: Checkpoint,
    { engine, eosTokenIds, repetitionPenalty = 1, ...options }: LanguageModelOptions & GenerationConfig = {},
  ): Promise<LanguageModel> {
    const config = readLanguageConfig(json);
    const own = engine ?? (await Engine.open(options));
    return new LanguageModel(
      own,
      config,
      checkpoint,
      eosTokenIds ?? config.eosTokenIds,
      repetitionPenalty,
      !engine,
    );
  }

  /**
   * Reads a prompt, for any number of answers or longer prompts to go on from.
   * @throws DiffsightError PROMPT, CONTEXT_LENGTH, ABORTED
   */
  async read(prompt: Prompt, options: ReadOptions = {}): Promise<Context> {
    const [context] = await this.readBatch([prompt], options);
    return context!;
  }

  /** Reads several prompts together. */
  async readBatch(prompts: readonly Prompt[], { after, signal }: ReadOptions = {}): Promise<Context[]> {
    const contexts = prompts.map((prompt) => this.#branch(prompt, after));
    try {
      await this.#memory.fill(contexts, { signal });
    } catch (error) {
      for (const context of contexts) context.release();
      throw error;
    }
    return contexts;
  }

  /**
   * The tokens that follow a prompt or a context, as they are computed; greedy unless the options say otherwise.
   * @throws DiffsightError PROMPT, CONTEXT_LENGTH, SAMPLING, MAX_TOKENS; ABORTED while it is read
   */
  generate(prompt: PromptOrContext, options: GenerateOptions = {}): Generation {
    return new Generation(this.generateBatch([prompt], options));
  }

  /** The same for several, a token of each at a time: what they share is computed once, and weights are read once a step. */
  generateBatch(prompts: readonly PromptOrContext[], options: GenerateOptions = {}): BatchGeneration {
    const contexts = () =>
      prompts.map((prompt) => (prompt instanceof Context ? this.#branch([], prompt) : this.#branch(prompt)));
    const limits = { eosTokenIds: this.eosTokenIds, maxLength: longestSequence(this.config.rope) };
    const own = { ...options, repetitionPenalty: options.repetitionPenalty ?? this.repetitionPenalty };
    return new BatchGeneration(this.#memory, limits, prompts.length, own, contexts);
  }

  /**
   * How likely texts are, all together: the logarithm of each token's probability, given the context and the tokens
   * before it. What they share is computed once; nothing of them is kept.
   * @returns natural logarithms, one a token of each text
   * @throws DiffsightError PROMPT, CONTEXT_LENGTH, ABORTED
   */
  async score(texts: readonly Continuation[], { signal }: CallOptions = {}): Promise<Float64Array[]> {
    const contexts = texts.map(({ after, ids }) => this.#branch([ids], after));
    const scored = new Map(
      contexts.map((context, i) => {
        const { after, ids } = texts[i]!;
        const found = new Float64Array(ids.length);
        if (ids.length > 0) found[0] = logProbability(this.#memory.logits(after), ids[0]!);
        return [context, { ids, start: after.length, found }];
      }),
    );
    try {
      await this.#memory.fill(contexts, { signal }, (context, position, logits) => {
        const { ids, start, found } = scored.get(context)!;
        const next = position + 1 - start;
        if (next > 0 && next < ids.length) found[next] = logProbability(logits, ids[next]!);
      });
    } finally {
      for (const context of contexts) context.release();
    }
    return [...scored.values()].map(({ found }) => found);
  }

  /** Loads the weights now rather than when they are first needed. */
  prepare(): Promise<void> {
    return this.#network.prepare();
  }

  /** Frees everything that it holds. */
  async release(): Promise<void> {
    await this.#network.release();
    if (this.#ownsEngine) await this.engine.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  #branch(prompt: Prompt, after?: Context): Context {
    const context = this.#memory.branch(after, promptRows(prompt, this.config));
    const longest = longestSequence(this.config.rope);
    if (context.length > longest) {
      throw misuse(
        "CONTEXT_LENGTH",
        `A prompt of ${context.length} tokens is too long: the network knows ${longest} positions.`,
      );
    }
    return context;
  }
}

/** Logarithm of one entry of the softmax, in doubles. */
function logProbability(logits: Float32Array, id: number): number {
  const top = logits.reduce((most, score) => Math.max(most, score), Number.NEGATIVE_INFINITY);
  const total = logits.reduce((sum, score) => sum + Math.exp(score - top), 0);
  return logits[id]! - top - Math.log(total);
}

/** Some files say -1 for none: no token has it, so it ends nothing. */
const tokenId = z.number().int();

const generationSchema = z.object({
  eos_token_id: z.union([tokenId, z.array(tokenId)]).nullish(),
  repetition_penalty: z.number().positive().nullish(),
});

/** What a folder says of answers. */
export interface GenerationConfig {
  eosTokenIds?: readonly number[] | undefined;
  /** It changes the likeliest token too, so it is part of being greedy. */
  repetitionPenalty?: number | undefined;
}

/**
 * A folder's generation_config.json. How tokens are drawn (`do_sample`, `temperature`, `top_p`, `top_k`) is the caller's.
 * @throws DiffsightError CONFIG
 */
export async function readGenerationConfig(folder: ModelFolder): Promise<GenerationConfig> {
  const said = await folder.json("generation_config.json", true);
  if (!said) return {};
  const { eos_token_id: ends, repetition_penalty } = readConfig(
    generationSchema,
    said,
    `${folder.source}: generation`,
  );
  return {
    ...(ends != null && { eosTokenIds: [ends].flat() }),
    ...(repetition_penalty != null && { repetitionPenalty: repetition_penalty }),
  };
}
