/** @file Collects the nodes and initializers of one ONNX graph while values are lowered. */

import { count, type Dims, type DType, Tensor } from "../../tensor/index.js";
import type { Storage, Value } from "../value.js";
import type { Attribute, OnnxInitializer, OnnxNode } from "./proto.js";
import { rawBytes } from "./proto.js";
import type { WinogradWeights } from "./winograd.js";

/** One derived tensor: where it begins, what it is made of, and how. */
export interface DerivedPart {
  offset: number;
  stored: DType;
  storage: Storage;
  recipe: WinogradWeights;
}

export interface EmitOptions {
  domain?: "" | "com.microsoft";
  outputs?: number;
}

export class Emitter {
  readonly nodes: OnnxNode[] = [];
  readonly casts: OnnxNode[] = [];
  readonly initializers: OnnxInitializer[] = [];
  readonly derivedParts: DerivedPart[] = [];
  derivedBytes = 0;
  readonly #derivedNames = new Map<Value, Map<number, string>>();
  readonly #names = new Map<Value, string>();
  readonly #stored = new Map<Value, string>();
  readonly #later = new Map<Value, () => string>();
  readonly #half = new Set<Value>();
  readonly #constants = new Map<string, string>();
  readonly #written = new Map<string, readonly string[]>();
  #next = 0;

  constructor(
    /** Where the runtime finds derived weights. */
    readonly derivedLocation: string,
    /** Whether equal nodes are written once: what a gradient needs of the forward part is there already. */
    readonly merges = false,
  ) {}

  /** A name that nothing else has. */
  fresh(prefix: string): string {
    return `${prefix}_${this.#next++}`;
  }

  /** The ONNX name of a value that was lowered before, as f32 where it is stored in half precision. */
  name(value: Value): string {
    const known = this.#names.get(value);
    if (known !== undefined) return known;
    if (!this.#half.has(value)) return this.stored(value);
    const name = this.#cast(this.stored(value));
    // With a gradient's part there are uses far apart: one cast for all would stay until the last of them.
    if (!this.merges) this.#names.set(value, name);
    return name;
  }

  /**
   * Casts of weights stand before all other nodes. The runtime goes back from the results and takes what stands last
   * first: so each cast is computed just before its use, not all of them at the start, and its memory is free after.
   */
  #cast(stored: string): string {
    const name = this.fresh("Cast");
    this.casts.push({ opType: "Cast", domain: "", inputs: [stored], outputs: [name], attributes: { to: 1 } });
    return name;
  }

  /** The ONNX name of a value as it is stored. */
  stored(value: Value): string {
    const known = this.#stored.get(value) ?? this.#names.get(value);
    if (known !== undefined) return known;
    const name = this.#later.get(value)!();
    this.#stored.set(value, name);
    return name;
  }

  /** Binds a parameter that is only written when something needs it as it is. */
  bindLater(value: Value, half: boolean, write: () => string): void {
    this.#later.set(value, write);
    if (half) this.#half.add(value);
  }

  bind(value: Value, name: string): void {
    this.#names.set(value, name);
  }

  /** Adds a node and returns the name of its (first) output. */
  emit(
    opType: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute> = {},
    options: EmitOptions = {},
  ): string {
    return this.emitAll(opType, inputs, attributes, options)[0]!;
  }

  /** Adds a node and returns the names of its outputs. */
  emitAll(
    opType: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute>,
    { domain = "", outputs = 1 }: EmitOptions,
  ): readonly string[] {
    const key = this.merges ? JSON.stringify([opType, domain, inputs, attributes]) : "";
    const known = this.#written.get(key);
    if (known) return known;
    const names = Array.from({ length: outputs }, () => this.fresh(opType));
    this.nodes.push({ opType, domain, inputs, outputs: names, attributes });
    if (this.merges) this.#written.set(key, names);
    return names;
  }

  /** A constant held in the model itself; equal ones are written once. */
  constant(tensor: Tensor): string {
    const raw = rawBytes(tensor);
    const key = raw.length <= 4096 ? `${tensor.dtype} ${tensor.dims.join(",")} ${raw.join(",")}` : undefined;
    const known = key === undefined ? undefined : this.#constants.get(key);
    if (known) return known;
    const name = this.fresh("constant");
    this.initializers.push({ name, dtype: tensor.dtype, dims: tensor.dims, data: { raw } });
    if (key !== undefined) this.#constants.set(key, name);
    return name;
  }

  /** Weights that are computed from a parameter when the session is made. */
  derived(source: Value<"parameter">, dims: Dims, recipe: WinogradWeights): string {
    const names = this.#derivedNames.get(source) ?? new Map<number, string>();
    const known = names.get(recipe.m);
    if (known) return known;
    const name = this.fresh(`${source.attributes.key} F${recipe.m}`);
    const length = count(dims) * 4;
    const offset = this.derivedBytes;
    this.derivedBytes += Math.ceil(length / 4096) * 4096;
    this.initializers.push({
      name,
      dtype: "f32",
      dims,
      data: { location: this.derivedLocation, offset, length },
    });
    const { stored, storage } = source.attributes;
    this.derivedParts.push({ offset, stored, storage, recipe });
    this.#derivedNames.set(source, names.set(recipe.m, name));
    return name;
  }

  /** A constant that several lowerings share under a key. */
  shared(key: string, make: () => Tensor): string {
    const known = this.#constants.get(key);
    if (known) return known;
    const name = this.constant(make());
    this.#constants.set(key, name);
    return name;
  }

  /** A shape, axes or sizes. */
  integers(values: readonly number[]): string {
    return this.constant(Tensor.i64([values.length], values));
  }

  floats(dims: Dims, values: readonly number[]): string {
    return this.constant(Tensor.f32(dims, values));
  }

  // What almost every lowering needs

  reshape(x: string, dims: Dims): string {
    return this.emit("Reshape", [x, this.integers(dims)]);
  }

  transpose(x: string, permutation: readonly number[]): string {
    return this.emit("Transpose", [x], { perm: permutation });
  }

  slice(x: string, axis: number, start: number, end: number, step = 1): string {
    return this.emit("Slice", [x, ...[[start], [end], [axis], [step]].map((one) => this.integers(one))]);
  }
}
