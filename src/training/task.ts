/** @file What the training loop asks of a task: its network, its batches, its files. All else is the loop's. */

import type { z } from "zod";
import type { Stores } from "../data/index.js";
import type { Value } from "../graph/index.js";
import type { Tensor, TorchGenerator } from "../tensor/index.js";
import type { Scope } from "../weights/index.js";

/** Numbers by checkpoint key; several components in one: "unet.conv_in.weight", "text_encoder....". */
export type Weights = ReadonlyMap<string, Tensor>;

/**
 * One part's batch to its loss. The parameters are those that the loss needs: each is trained unless the recipe freezes
 * it. Shapes are static, and the graph must not depend on the weights' numbers.
 */
export interface TrainingGraph {
  /** Every input by its own name; what `batch` returns feeds them. */
  inputs: Readonly<Record<string, Value<"input">>>;
  /** [] or [1]: the mean over the part's examples. A step's loss and gradients are the means over its parts. */
  loss: Value;
  /** More numbers to be logged, [] or [1] each; a step's is the mean over its parts. */
  metrics: Readonly<Record<string, Value>>;
}

export interface GraphRequest<Config> {
  config: Config;
  /** The root of the weights, f32 in memory. */
  w: Scope;
  /** Validation's graph may differ: whole pictures where training sees crops. It needs no other parameters. */
  split: "train" | "validation";
  /** Examples in one part, or in one batch of validation. */
  batch: number;
}

export interface BatchRequest {
  split: "train" | "validation";
  /** From 0; for validation the number of the batch. */
  step: number;
  part: number;
  /** The part's examples, 0 .. examples[split] - 1: every epoch in another order, none twice in an epoch. */
  rows: readonly number[];
  /** Seeded by (seed, split, step, part) alone: whatever is drawn must come from here. */
  random: TorchGenerator;
}

/** A task whose data are open. */
export interface Examples {
  readonly train: number;
  readonly validation: number;
  /** A tensor for each input of the graph, a pure function of the request. Its time counts: read by row, not whole files. */
  batch(request: BatchRequest): Record<string, Tensor>;
}

export interface ExamplesRequest<Config> {
  config: Config;
  /** What earlier stages made, by the names that the stage's `data` gives them. */
  data: Stores;
  seed: number;
}

/** What the optimizer does with one parameter, unless the recipe says otherwise. */
export interface ParameterRule {
  /** Whether weight decay applies. Default: to tensors of two axes and more. */
  decay?: boolean;
  /** Factor of the learning rate. Default 1. */
  scale?: number;
}

/** A part of a pipeline's folder. */
export interface Component {
  /** Folder: "unet", "vae", "tokenizer". */
  name: string;
  /** As `model_index.json` names it: ["diffusers", "UNet2DConditionModel"]. */
  kind: readonly [library: string, className: string];
  /** Relative path -> contents. */
  files: Readonly<Record<string, Uint8Array | string>>;
}

export interface ExportRequest<Config> {
  config: Config;
  weights: Weights;
  /** How numbers are stored. */
  dtype: "f32" | "f16";
}

/** Something to be learnt. Modules of tasks are loaded in every worker thread. */
export interface Task<Config = unknown> {
  /** Part of what identifies a stage's result: to be raised when the same config learns something else. */
  readonly version: number;
  /** The stage's section `config`: network, loss, data choices. */
  readonly config: z.ZodType<Config>;
  /** Random weights of the whole checkpoint, f32; also for what is later taken from another stage. */
  initial(config: Config, random: TorchGenerator): Weights;
  graph(request: GraphRequest<Config>): TrainingGraph;
  open(request: ExamplesRequest<Config>): Promise<Examples>;
  /** Examples in one batch of validation. Default: as many as in a part. */
  validationBatch?(config: Config): number;
  rule?(key: string, config: Config): ParameterRule;
  /** The trained weights in the layout of diffusers or transformers. */
  export?(request: ExportRequest<Config>): Promise<Component[]>;
}

/** Keeps the config's type: `export const task = defineTask({ ... })` is what a task's module exports. */
export function defineTask<Config>(task: Task<Config>): Task<Config> {
  return task;
}
