/** @file A task's graph with its gradients, compiled for one thread: examples in, loss, metrics and gradients out. */

import { alignedTensors, Engine, type Program } from "../engine/index.js";
import { add, flops, gradients, reshape, trainingKernels, type Value } from "../graph/index.js";
import { failure, formatDims, misuse, type Tensor, type TorchGenerator } from "../tensor/index.js";
import type { Checkpoint } from "../weights/index.js";
import { drawMask, Masks } from "./masks.js";
import { Order, randomAt } from "./order.js";
import type { Settings } from "./settings.js";
import type { BatchRequest, Examples, Task, TrainingGraph, Weights } from "./task.js";
import { type Layout, layoutOf, parametersOf, scopeOf } from "./weights.js";

/** Milliseconds. */
export interface PartTimes {
  /** Making the batch. */
  data: number;
  /** Forward and backward. */
  run: number;
  /** Carrying weights and gradients between threads. */
  copy: number;
}

/** Loss and metrics of one part, or of one batch of the validation. */
export interface PartResult {
  loss: number;
  metrics: Record<string, number>;
  /** How much it counts in means. */
  weight: number;
  times: PartTimes;
  /** What was left out. */
  warnings: readonly string[];
}

/** Everything that the optimizer's side and the runtime's side agree on. */
export interface TrainingPlan {
  graph: TrainingGraph;
  /** What the loop draws for the graph's dropouts. */
  masks: Masks;
  layout: Layout;
  /** The gradient of each slot, by name. */
  slopes: Record<string, Value>;
  /** Floating-point operations of a part, forward and backward. */
  flops: number;
}

const gradientOf = (key: string) => `gradient of ${key}`;
const metricOf = (name: string) => `metric ${name}`;

/** Examples in a part. */
export function partSize({ batch, parts }: Pick<Settings, "batch" | "parts">): number {
  return batch / parts;
}

/**
 * Writes the graph of a part and its gradients.
 * @param base what the task reads in place
 */
export function planTraining<Config>(
  task: Task<Config>,
  config: Config,
  settings: Pick<Settings, "batch" | "parts" | "parameters" | "gradientCheckpointing">,
  weights: Weights,
  base?: Checkpoint,
): TrainingPlan {
  const masks = new Masks();
  const w = scopeOf(weights, base);
  const dropout = masks.add.bind(masks);
  const graph = task.graph({ config, w, split: "train", batch: partSize(settings), dropout });
  const layout = layoutOf(graph, weights, settings.parameters, (key) => task.rule?.(key, config) ?? {}, base);
  const values = parametersOf(graph);
  const trained = layout.slots.flatMap(({ key, dims }) =>
    values.get(key)!.map((value) => ({ key, dims, value })),
  );
  const made = gradients(
    graph.loss,
    trained.map(({ value }) => value),
    settings.gradientCheckpointing ? { recompute: new Set(statesOf(graph)) } : {},
  );
  const slopes: Record<string, Value> = {};
  for (const [i, { key, dims }] of trained.entries()) {
    const slope = reshape(made[i]!, dims);
    const others = slopes[gradientOf(key)];
    slopes[gradientOf(key)] = others ? add(others, slope) : slope;
  }
  const total = flops([...Object.values(numbersOf(graph)), ...Object.values(slopes)]);
  return { graph, masks, layout, slopes, flops: total };
}

/** @throws misuse TASK for tasks whose networks name no states */
function statesOf({ states }: TrainingGraph): readonly Value[] {
  if (states) return states;
  throw misuse("TASK", "gradientCheckpointing: this task knows of no states to keep; the task speaker does.");
}

/** Loss, weight and metrics by the names that a program gives them. */
function numbersOf({ loss, weight, metrics }: TrainingGraph): Record<string, Value> {
  const named = Object.entries(metrics).map(([name, value]) => [metricOf(name), value]);
  return { loss, ...(weight && { weight }), ...Object.fromEntries(named) };
}

/** A program with the tensors that it reads and writes, in memory that is used again and again. */
interface Bound {
  program: Program;
  /** What each batch fills. */
  batch: Record<string, Tensor>;
  /** What is drawn for each run, by input. */
  masks: { rate: number; place: Tensor }[];
  feeds: Record<string, Tensor>;
  into: Record<string, Tensor>;
}

/** One tensor a slot, side by side as in the layout, and all of them as one array. */
function flatTensors(
  { slots, length }: Layout,
  nameOf: (key: string) => string,
): { tensors: Record<string, Tensor>; flat: Float32Array } {
  const shapes = slots.map(({ key, dims }) => [nameOf(key), { dtype: "f32", dims }] as const);
  const tensors = alignedTensors(Object.fromEntries(shapes));
  const { buffer, byteOffset } = tensors[nameOf(slots[0]!.key)]!.data;
  return { tensors, flat: new Float32Array(buffer, byteOffset, length) };
}

const shapesOf = (values: Iterable<readonly [string, Value]>) =>
  Object.fromEntries([...values].map(([name, { dtype, dims }]) => [name, { dtype, dims }]));

/** Compiles a graph; `more` outputs have their places already. */
function bind(
  engine: Engine,
  graph: TrainingGraph,
  parameters: Record<string, Tensor>,
  masks: Masks = new Masks(),
  more: { outputs: Record<string, Value>; into: Record<string, Tensor> } = { outputs: {}, into: {} },
): Bound {
  const named = (values: Iterable<Value<"input">>) =>
    alignedTensors(shapesOf([...values].map((value) => [value.attributes.name, value] as const)));
  const batch = named(Object.values(graph.inputs));
  const drawn = named(masks.all.map(({ value }) => value));
  const given = new Map<Value, string>();
  const feeds: Record<string, Tensor> = { ...batch, ...drawn };
  for (const [key, values] of parametersOf(graph)) {
    const place = parameters[key];
    if (!place) continue;
    for (const [i, value] of values.entries()) {
      const name = `parameter ${key}${"'".repeat(i)}`;
      given.set(value, name);
      feeds[name] = place.reshape(value.dims);
    }
  }
  const numbers = numbersOf(graph);
  const program = engine.compile({ ...numbers, ...more.outputs }, { given });
  // What no output needs is no input of the program.
  const needed = program.inputs.map(({ name }) => [name, feeds[name]!]);
  const into = { ...alignedTensors(shapesOf(Object.entries(numbers))), ...more.into };
  return {
    program,
    batch,
    masks: masks.all.map(({ value, rate }) => ({ rate, place: drawn[value.attributes.name]! })),
    feeds: Object.fromEntries(needed),
    into,
  };
}

interface Parts<Config> {
  config: Config;
  settings: Settings;
  /** Weights in memory; those that are not trained are written into the programs. */
  initial: Weights;
  /** Weights in files, which programs read in place. */
  base?: Checkpoint | undefined;
  examples: Examples;
}

/** Owns the session of one thread. */
export class StepProgram {
  readonly #order: Order;

  private constructor(
    /** The weights that runs read; to be written before. As in the layout. */
    readonly weights: Float32Array,
    /** The gradients that the last part gave. */
    readonly gradients: Float32Array,
    readonly settings: Settings,
    readonly examples: Examples,
    readonly engine: Engine,
    readonly trained: Bound,
    readonly validated: Bound & { size: number },
  ) {
    const sizes = { batchSize: partSize(settings), parts: settings.parts };
    const shuffle = examples.order && ((random: TorchGenerator) => examples.order!(random, sizes));
    this.#order = new Order(settings.seed, examples.train, shuffle);
  }

  static async open<Config>(
    task: Task<Config>,
    { config, settings, initial, base, examples }: Parts<Config>,
  ): Promise<StepProgram> {
    const { graph, masks, layout, slopes } = planTraining(task, config, settings, initial, base);
    const weights = flatTensors(layout, (key) => key);
    const gradients = flatTensors(layout, gradientOf);
    const engine = await Engine.open({
      device: "cpu",
      // Threads share the pages of large frozen weights, of which "fast" would hold a copy each.
      memory: base ? "mmap" : "fast",
      threads: 1,
      host: "here",
      kernels: trainingKernels,
    });
    const trained = bind(engine, graph, weights.tensors, masks, { outputs: slopes, into: gradients.tensors });
    const size = task.validationBatch?.(config) ?? partSize(settings);
    const other = task.graph({ config, w: scopeOf(initial, base), split: "validation", batch: size });
    const validated = { ...bind(engine, other, weights.tensors), size };
    await trained.program.prepare();
    return new StepProgram(weights.flat, gradients.flat, settings, examples, engine, trained, validated);
  }

  /** Loss, metrics and gradients of one part of a step. */
  train(step: number, part: number): Promise<PartResult> {
    const { seed, batch } = this.settings;
    const size = partSize(this.settings);
    const rows = this.#order.rows(step * batch + part * size, size);
    const random = randomAt("train", seed, step, part);
    const chance = randomAt("dropout", seed, step, part);
    for (const { rate, place } of this.trained.masks) drawMask(place, rate, chance);
    return this.#run(this.trained, { split: "train", step, part, rows, random });
  }

  /** Loss and metrics of a batch of the validation's examples, which are taken in their own order. */
  evaluate(step: number): Promise<PartResult> {
    const { size } = this.validated;
    const rows = Array.from({ length: size }, (_, i) => step * size + i);
    const random = randomAt("validation", this.settings.seed, step);
    return this.#run(this.validated, { split: "validation", step, part: 0, rows, random });
  }

  async #run(
    { program, batch, feeds, into }: Bound,
    request: Omit<BatchRequest, "warn">,
  ): Promise<PartResult> {
    const begin = performance.now();
    const warnings: string[] = [];
    const warn = (message: string) => void warnings.push(message);
    const examples = await this.examples.batch({ ...request, warn });
    for (const [name, place] of Object.entries(batch)) {
      const tensor = examples[name];
      if (tensor?.dtype !== place.dtype || formatDims(tensor.dims) !== formatDims(place.dims)) {
        const found = tensor ? `${tensor.dtype} ${formatDims(tensor.dims)}` : "nothing";
        const wanted = `${place.dtype} ${formatDims(place.dims)}`;
        throw failure(
          "BATCH",
          `The task's batch gives ${found} for the input "${name}", which is ${wanted}.`,
        );
      }
      place.data.set(tensor.data as never);
    }
    const made = performance.now();
    await program.run(feeds, { into });
    const times = { data: made - begin, run: performance.now() - made, copy: 0 };
    const numberOf = (name: string) => Number(into[name]!.data[0]);
    const prefix = metricOf("");
    const names = Object.keys(into).filter((name) => name.startsWith(prefix));
    const metrics = Object.fromEntries(names.map((name) => [name.slice(prefix.length), numberOf(name)]));
    const weight = "weight" in into ? numberOf("weight") : 1;
    return { loss: numberOf("loss"), metrics, weight, times, warnings };
  }

  /** Batches that the validation's examples fill. */
  get validationBatches(): number {
    const filled = Math.floor(this.examples.validation / this.validated.size);
    return Math.min(filled, this.settings.validation?.batches ?? filled);
  }

  async dispose(): Promise<void> {
    await this.engine.dispose();
    await this.examples.release?.();
  }
}
