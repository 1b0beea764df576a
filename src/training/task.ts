/** @file What the training loop asks of a task: its network, its batches, its files. All else is the loop's. */

import type { z } from "zod";
import type { Stores } from "../data/index.js";
import type { Value } from "../graph/index.js";
import type { Dims, Tensor, TorchGenerator } from "../tensor/index.js";
import type { Checkpoint, Scope } from "../weights/index.js";
import type { Settings } from "./settings.js";

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
  /** How much a part counts in a step's means, [] or [1]: of what `loss` is a mean, where it differs. Default: 1. */
  weight?: Value;
  /** More numbers to be logged, [] or [1] each; a step's is the mean over its parts. */
  metrics: Readonly<Record<string, Value>>;
  /** States between a network's layers: all that gradient checkpointing keeps for the backward part. */
  states?: readonly Value[];
}

export interface GraphRequest<Config> {
  config: Config;
  /** The root of the weights, f32 in memory. */
  w: Scope;
  /** Validation's graph may differ: whole pictures where training sees crops. It needs no other parameters. */
  split: "train" | "validation";
  /** Examples in one part, or in one batch of validation. */
  batch: number;
  /**
   * In training: a mask for a dropout's values, 0 at this rate and else 1 / (1 - rate), drawn anew for every part. In
   * validation there is none.
   * @param name tells one dropout from another
   */
  dropout?: ((name: string, dims: Dims, rate: number) => Value) | undefined;
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
  /** Told of what is left out: each message reaches the user once. */
  warn(message: string): void;
}

/** A task whose data are open. */
export interface Examples {
  readonly train: number;
  readonly validation: number;
  /** A tensor for each input of the graph, a pure function of the request. Its time counts: read by row, not whole files. */
  batch(request: BatchRequest): Record<string, Tensor> | Promise<Record<string, Tensor>>;
  /**
   * An epoch's order: each example once. Default: any.
   * @param sizes examples in a part, and parts in a step
   */
  order?(random: TorchGenerator, sizes: { batchSize: number; parts: number }): readonly number[];
  release?(): Promise<void>;
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
  /** Whether it stays as it is. Default: no. */
  frozen?: boolean;
}

/** A part of a pipeline's folder. */
export interface Component {
  /** Folder: "unet", "vae", "tokenizer". */
  name: string;
  /** As `model_index.json` names it: ["diffusers", "UNet2DConditionModel"]. */
  kind: readonly [library: string, className: string];
  /** Relative path -> contents, or what makes them when they are written: not all need be in memory at once. */
  files: Readonly<Record<string, FileContents | (() => Promise<FileContents>)>>;
}

export type FileContents = Uint8Array | string;

export interface ExportRequest<Config> {
  config: Config;
  weights: Weights;
  /** What the task reads in place. */
  base?: Checkpoint | undefined;
  /** How numbers are stored. */
  dtype: "f32" | "f16";
  layout: ExportLayout;
}

/**
 * pipeline: a folder a component and model_index.json; model: all in one folder; llava: transformers'
 * `LlavaForConditionalGeneration`, of models that are one.
 */
export const exportLayouts = ["pipeline", "model", "llava"] as const;
export type ExportLayout = (typeof exportLayouts)[number];

/** The class of a component of layout `llava`. */
export const llavaClass = "LlavaForConditionalGeneration";

/** Something to be learnt. Modules of tasks are loaded in every worker thread. */
export interface Task<Config = unknown> {
  /** Part of what identifies a stage's result: to be raised when the same config learns something else. */
  readonly version: number;
  /** The stage's section `config`: network, loss, data choices. */
  readonly config: z.ZodType<Config>;
  /** Completes a config by what stands in other files, such as models' shapes and hashes: it identifies the result too. */
  read?(config: Config): Promise<Config>;
  /**
   * Weights in files, by the keys that the graph uses. Those that stay frozen are read in place; the others are read
   * into memory before the first step.
   */
  base?(config: Config): Promise<Checkpoint | undefined>;
  /** Random weights of the checkpoint besides `base`, f32; also for what is later taken from another stage. */
  initial(config: Config, random: TorchGenerator): Weights;
  graph(request: GraphRequest<Config>): TrainingGraph;
  /** Of the random weights, those that are measured on the data instead, before what comes from other stages. */
  measured?(request: ExamplesRequest<Config>): Promise<Weights>;
  open(request: ExamplesRequest<Config>): Promise<Examples>;
  /** Examples in one batch of validation. Default: as many as in a part. */
  validationBatch?(config: Config): number | undefined;
  rule?(key: string, config: Config): ParameterRule;
  /** What to look at twice before training. */
  warnings?(config: Config, settings: Pick<Settings, "batch">): string[];
  /** The trained weights in the layout of diffusers or transformers. */
  export?(request: ExportRequest<Config>): Promise<Component[]>;
}

/** Keeps the config's type: `export const task = defineTask({ ... })` is what a task's module exports. */
export function defineTask<Config>(task: Task<Config>): Task<Config> {
  return task;
}
