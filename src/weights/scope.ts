/** @file Scoped access to a checkpoint: `w.at("down_blocks", 1, "resnets", 0)` mirrors its keys. */

import { parameter, type Value } from "../graph/index.js";
import { type Dims, failure, formatDims } from "../tensor/index.js";
import type { Checkpoint } from "./checkpoint.js";

/**
 * What is put beside a linear layer, such as a low-rank adapter.
 * @param layer where its weight lies
 * @param x what it is given @param y what it gives
 */
export type Adapt = (layer: Scope, x: Value, y: Value) => Value;

interface Shared {
  checkpoint: Checkpoint;
  adapt?: Adapt;
  prefixes: ReadonlySet<string>;
  parameters: Map<string, Value>;
  taps: Map<string, Value>;
}

/** A place in a checkpoint's key tree, and the record of the values tapped while a network is written. */
export class Scope {
  readonly #shared: Shared;

  private constructor(
    shared: Shared,
    /** Keys joined by dots, as in the checkpoint. */
    readonly path: string,
  ) {
    this.#shared = shared;
  }

  /** The root of a checkpoint, with an empty record of taps. */
  static of(checkpoint: Checkpoint): Scope {
    const prefixes = new Set<string>();
    for (const key of checkpoint.entries.keys()) {
      for (let dot = key.indexOf("."); dot !== -1; dot = key.indexOf(".", dot + 1))
        prefixes.add(key.slice(0, dot));
      prefixes.add(key);
    }
    return new Scope({ checkpoint, prefixes, parameters: new Map(), taps: new Map() }, "");
  }

  #join(name: string | number): string {
    return this.path === "" ? String(name) : `${this.path}.${name}`;
  }

  at(...keys: (string | number)[]): Scope {
    return new Scope(
      this.#shared,
      keys.reduce<string>((path, key) => (path === "" ? `${key}` : `${path}.${key}`), this.path),
    );
  }

  /** The same place, whose linear layers are adapted. */
  adapting(adapt: Adapt): Scope {
    return new Scope({ ...this.#shared, adapt }, this.path);
  }

  /** What the linear layer here makes of x, with what is put beside it. */
  adapted(x: Value, y: Value): Value {
    return this.#shared.adapt?.(this, x, y) ?? y;
  }

  /** The first of several spellings that the checkpoint has (old and new names of one layer). */
  either(...names: string[]): Scope {
    return this.at(names.find((name) => this.has(name)) ?? names[0]!);
  }

  /** Whether the checkpoint has a tensor or a module of this name here. */
  has(name: string | number): boolean {
    return this.#shared.prefixes.has(this.#join(name));
  }

  /** How many of `name.0`, `name.1`, ... there are. */
  length(name: string): number {
    let found = 0;
    while (this.at(name).has(found)) found++;
    return found;
  }

  /**
   * The tensor of this name, read in place.
   * @param dims the shape it must have, or must be brought to when the numbers are as many (1x1 convolutions as matrices)
   * @throws DiffsightError WEIGHT_MISSING, WEIGHT_SHAPE
   */
  parameter(name: string, dims?: Dims): Value {
    const key = this.#join(name);
    const { checkpoint, parameters } = this.#shared;
    const entry = checkpoint.entries.get(key);
    if (!entry) throw failure("WEIGHT_MISSING", `${checkpoint.name} has no tensor "${key}".`);
    const shape = dims ?? entry.dims;
    const same = shape.length === entry.dims.length && shape.every((size, i) => size === entry.dims[i]);
    const squeezed =
      shape.filter((size) => size !== 1).join() === entry.dims.filter((size) => size !== 1).join();
    if (!same && !squeezed) {
      const found = formatDims(entry.dims);
      throw failure(
        "WEIGHT_SHAPE",
        `${checkpoint.name}: "${key}" is ${found}, the config asks for ${formatDims(shape)}.`,
      );
    }
    if (!["f32", "f16", "bf16"].includes(entry.dtype)) {
      throw failure(
        "WEIGHT_DTYPE",
        `${checkpoint.name}: "${key}" is ${entry.dtype}; networks take f32, f16 and bf16.`,
      );
    }
    const memo = `${key} ${shape.join()}`;
    const known = parameters.get(memo) ?? parameter(key, shape, entry.dtype, entry.storage);
    parameters.set(memo, known);
    return known;
  }

  /**
   * Bytes of this name [out, blocks, bytes], several whole numbers of few bits in each: for quantised products.
   * @throws DiffsightError WEIGHT_MISSING, WEIGHT_SHAPE
   */
  packed(name: string, out: number): Value {
    const key = this.#join(name);
    const { checkpoint, parameters } = this.#shared;
    const entry = checkpoint.entries.get(key);
    if (!entry) throw failure("WEIGHT_MISSING", `${checkpoint.name} has no tensor "${key}".`);
    if (entry.dtype !== "u8" || entry.dims.length !== 3 || entry.dims[0] !== out) {
      const found = `${entry.dtype} ${formatDims(entry.dims)}`;
      throw failure(
        "WEIGHT_SHAPE",
        `${checkpoint.name}: "${key}" is ${found}, not bytes [${out}, blocks, bytes].`,
      );
    }
    const known = parameters.get(key) ?? parameter(key, entry.dims, entry.dtype, entry.storage);
    parameters.set(key, known);
    return known;
  }

  /** The tensor of this name when the checkpoint has it. */
  optional(name: string, dims?: Dims): Value | undefined {
    return this.#shared.checkpoint.entries.has(this.#join(name)) ? this.parameter(name, dims) : undefined;
  }

  /** The stored shape of a tensor here. */
  dims(name: string): Dims | undefined {
    return this.#shared.checkpoint.entries.get(this.#join(name))?.dims;
  }

  /**
   * Records a value under (scope path, kind), and returns it. What nobody asks for costs nothing.
   * @param view what to record in its place, when users want another shape than the network goes on with
   */
  tap(kind: string, value: Value, view: (value: Value) => Value = (same) => same): Value {
    this.#shared.taps.set(`${this.path}:${kind}`, view(value));
    return value;
  }

  /** Everything recorded so far: "path:kind" -> value, in the order of execution. */
  get taps(): ReadonlyMap<string, Value> {
    return this.#shared.taps;
  }
}
