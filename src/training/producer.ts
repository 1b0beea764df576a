/** @file What makes a store of data, row by row: rendered scenes, latents of pictures. */

import type { z } from "zod";
import type { Columns, Rows, Stores } from "../data/index.js";
import type { Weights } from "./task.js";

export interface ProducerRequest<Config> {
  config: Config;
  /** What earlier stages made, by the names that the stage's `data` gives them. */
  data: Stores;
  /** Trained weights of earlier stages, with their configs, by the names that the stage's `models` gives them. */
  models: Readonly<Record<string, TrainedModel>>;
}

/** What a stage of training made. */
export interface TrainedModel {
  /** The name of its task. */
  task: string;
  /** As its task has checked it. */
  config: unknown;
  weights: Weights;
}

/** A producer at work in one thread. */
export interface Production {
  /** Rows in all. */
  readonly count: number;
  /** What each row holds. */
  readonly columns: Columns;
  /** Whether each row has a line of JSON too. */
  readonly lines: boolean;
  /** What the user is to be told before rows are made. */
  readonly warnings?: readonly string[];
  /**
   * The rows from .. to - 1: a pure function of them. Threads make ranges side by side.
   * @param warn told of what is left out
   */
  make(from: number, to: number, warn: (message: string) => void): Promise<Rows>;
  release?(): Promise<void>;
}

/** Modules of producers are loaded in every worker thread. */
export interface Producer<Config = unknown> {
  /** To be raised when the same config makes other rows. */
  readonly version: number;
  readonly config: z.ZodType<Config>;
  /** Whom the rows come from, in Markdown: for the cards of models that are taught on them. */
  readonly credits?: string;
  /** What else the rows come from, as a hash: a pack of models, say. */
  source?(config: Config): Promise<string>;
  open(request: ProducerRequest<Config>): Promise<Production>;
}

/** Keeps the config's type: `export const producer = defineProducer({ ... })` is what a producer's module exports. */
export function defineProducer<Config>(producer: Producer<Config>): Producer<Config> {
  return producer;
}
