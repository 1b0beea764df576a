/** @file Collects the nodes and initializers of one ONNX graph while values are lowered. */

import { type Dims, Tensor } from "../../tensor/index.js";
import type { Value } from "../value.js";
import type { Attribute, OnnxInitializer, OnnxNode } from "./proto.js";
import { rawBytes } from "./proto.js";

export interface EmitOptions {
  domain?: "" | "com.microsoft";
  outputs?: number;
}

export class Emitter {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: OnnxInitializer[] = [];
  readonly #names = new Map<Value, string>();
  readonly #stored = new Map<Value, string>();
  readonly #constants = new Map<string, string>();
  #next = 0;

  /** A name that nothing else has. */
  fresh(prefix: string): string {
    return `${prefix}_${this.#next++}`;
  }

  /** The ONNX name of a value that was lowered before, as f32 where it is stored in half precision. */
  name(value: Value): string {
    const stored = this.#stored.get(value);
    if (stored !== undefined && !this.#names.has(value))
      this.#names.set(value, this.emit("Cast", [stored], { to: 1 }));
    return this.#names.get(value)!;
  }

  /** The ONNX name of a value as it is stored. */
  stored(value: Value): string {
    return this.#stored.get(value) ?? this.name(value);
  }

  /** Binds a value that is stored in half precision; the cast is written when something needs it. */
  bindStored(value: Value, name: string): void {
    this.#stored.set(value, name);
  }

  bind(value: Value, name: string): void {
    this.#names.set(value, name);
  }

  /** Adds a node and returns the name of its (first) output. */
  emit(
    opType: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute> = {},
    { domain = "", outputs = 1 }: EmitOptions = {},
  ): string {
    const names = Array.from({ length: outputs }, () => this.fresh(opType));
    this.nodes.push({ opType, domain, inputs, outputs: names, attributes });
    return names[0]!;
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
