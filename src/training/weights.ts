/** @file Weights in memory: as a checkpoint for networks, and as flat arrays for the optimizer. */

import { isOp, topologicalOrder, type Value } from "../graph/index.js";
import { count, type Dims, type DType, failure, formatDims, misuse, Tensor } from "../tensor/index.js";
import { type Checkpoint, Scope, type WeightEntry } from "../weights/index.js";
import type { Settings } from "./settings.js";
import type { ParameterRule, TrainingGraph, Weights } from "./task.js";

/** The bytes of a tensor, not copied. */
export function bytesOf({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** A checkpoint that lies in memory. */
export function memoryCheckpoint(name: string, weights: Weights): Checkpoint {
  const entries = [...weights].map(([key, tensor]): [string, WeightEntry] => {
    const { dtype, dims } = tensor;
    return [key, { dtype, dims: [...dims], storage: { bytes: bytesOf(tensor) } }];
  });
  return {
    name,
    entries: new Map(entries),
    files: [],
    async read(key) {
      const tensor = weights.get(key);
      if (!tensor) throw failure("WEIGHT_MISSING", `${name} has no tensor "${key}".`);
      return tensor;
    },
  };
}

/**
 * The root of weights in memory.
 * @param base more weights, in files; of equal keys those in memory count
 */
export function scopeOf(weights: Weights, base?: Checkpoint): Scope {
  const own = memoryCheckpoint("the weights in training", weights);
  if (!base) return Scope.of(own);
  return Scope.of({ ...base, name: base.name, entries: new Map([...base.entries, ...own.entries]) });
}

/** The values of each parameter that the loss needs: several where a network takes one in several shapes. */
export function parametersOf({ loss }: TrainingGraph): Map<string, Value[]> {
  const found = new Map<string, Value[]>();
  for (const value of topologicalOrder([loss])) {
    if (!isOp(value, "parameter")) continue;
    const { key } = value.attributes;
    found.set(key, [...(found.get(key) ?? []), value]);
  }
  return found;
}

/** Where a trained parameter lies in the flat arrays, and how it is updated. */
export interface Slot {
  readonly key: string;
  readonly dims: Dims;
  /** In numbers: a multiple of 16, that is 64 bytes. */
  readonly offset: number;
  readonly length: number;
  readonly decay: boolean;
  readonly scale: number;
}

export interface Layout {
  readonly slots: readonly Slot[];
  /** Numbers in each flat array. */
  readonly length: number;
}

/**
 * What the first `*` of a pattern stands for in a key: "text_encoder.*" fits every key that begins so.
 * @returns undefined when the key does not fit; "" for a pattern without `*`
 */
export function matchKey(pattern: string, key: string): string | undefined {
  const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  const found = new RegExp(`^${parts.join("(.*)")}$`).exec(key);
  return found ? (found[1] ?? "") : undefined;
}

/**
 * The trained parameters of a graph, in the order of the weights, then of the base.
 * @param base more weights, in files
 * @throws PARAMETER_RULE when a rule fits no key, TRAINED_NOTHING when all are frozen
 */
export function layoutOf(
  graph: TrainingGraph,
  weights: Weights,
  rules: Settings["parameters"],
  ruleOf: (key: string) => ParameterRule = () => ({}),
  base?: Checkpoint,
): Layout {
  const needed = parametersOf(graph);
  const others = [...(base?.entries ?? [])].filter(([key]) => !weights.has(key));
  const all: [string, { dims: Dims; dtype: DType }][] = [...weights, ...others];
  const unused = rules.find(({ keys }) => !all.some(([key]) => matchKey(keys, key) !== undefined));
  if (unused) throw misuse("PARAMETER_RULE", `parameters: no weight is called "${unused.keys}".`);
  const slots: Slot[] = [];
  let offset = 0;
  for (const [key, { dims, dtype }] of all) {
    if (!needed.has(key)) continue;
    const matching = rules.filter(({ keys }) => matchKey(keys, key) !== undefined);
    const last = <K extends "decay" | "scale" | "frozen">(name: K) =>
      matching.findLast((rule) => rule[name] !== undefined)?.[name];
    const own = ruleOf(key);
    if (last("frozen") ?? own.frozen ?? false) continue;
    if (dtype !== "f32" && weights.has(key))
      throw failure("WEIGHT_DTYPE", `"${key}" is ${dtype}: weights are trained in f32.`);
    const decay = last("decay") ?? own.decay ?? dims.filter((size) => size > 1).length > 1;
    const scale = last("scale") ?? own.scale ?? 1;
    const length = count(dims);
    slots.push({ key, dims, offset, length, decay, scale });
    offset += Math.ceil(length / 16) * 16;
  }
  if (slots.length === 0) throw misuse("TRAINED_NOTHING", "Every parameter that the loss needs is frozen.");
  return { slots, length: offset };
}

/** Copies weights into a flat array. */
export function flatten({ slots }: Layout, weights: Weights, into: Float32Array): void {
  for (const { key, dims, offset } of slots) {
    const tensor = weights.get(key);
    if (!tensor || formatDims(tensor.dims) !== formatDims(dims)) {
      const found = tensor ? formatDims(tensor.dims) : "missing";
      throw failure("WEIGHT_SHAPE", `"${key}" is ${found}, where training has ${formatDims(dims)}.`);
    }
    into.set(tensor.toFloat32(), offset);
  }
}

/** The weights with what a flat array holds in place of their own; copies. */
export function unflatten(
  { slots }: Layout,
  flat: Float32Array,
  weights: Weights = new Map(),
): Map<string, Tensor> {
  const all = new Map(weights);
  for (const { key, dims, offset, length } of slots) {
    all.set(key, Tensor.f32(dims, flat.slice(offset, offset + length)));
  }
  return all;
}
