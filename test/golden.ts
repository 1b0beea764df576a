/** @file Golden cases: inputs and outputs of the reference implementations, with a tolerance per tensor. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { type DType, decodeSafetensors, type Tensor } from "../src/tensor/index.js";

export interface GoldenTensor {
  tensor: string;
  shape: number[];
  dtype: string;
  std?: number;
  atol?: number;
}

export interface GoldenCase {
  name: string;
  what: string;
  // biome-ignore lint/suspicious/noExplicitAny: arguments differ from case to case
  args: Record<string, any>;
  inputs: Record<string, GoldenTensor>;
  outputs: Record<string, GoldenTensor>;
  // biome-ignore lint/suspicious/noExplicitAny: JSON expectations differ from case to case
  expected?: any;
  note?: string;
}

/** The absolute path of a folder or file below test/golden. */
export function goldenPath(...parts: string[]): string {
  return fileURLToPath(new URL(`golden/${parts.join("/")}`, import.meta.url));
}

/** One folder of cases with its tensors. */
export class Golden {
  readonly cases: GoldenCase[];
  // biome-ignore lint/suspicious/noExplicitAny: each folder has fields of its own
  readonly json: any;
  readonly #tensors: ReadonlyMap<string, Tensor>;

  constructor(
    readonly folder: string,
    name = "cases",
  ) {
    this.json = JSON.parse(readFileSync(goldenPath(folder, `${name}.json`), "utf8"));
    this.cases = this.json.cases;
    const files: string[] = this.json.files ?? [`${name}.safetensors`];
    this.#tensors = new Map(
      files.flatMap((file) => [...decodeSafetensors(readFileSync(goldenPath(folder, file))).tensors]),
    );
  }

  case(name: string): GoldenCase {
    const found = this.cases.find((one) => one.name === name);
    if (!found)
      throw new Error(`No golden case ${name} in ${this.folder}: ${this.cases.map((one) => one.name)}`);
    return found;
  }

  tensor(entry: GoldenTensor): Tensor {
    const found = this.#tensors.get(entry.tensor);
    if (!found) throw new Error(`No golden tensor ${entry.tensor} in ${this.folder}`);
    return found;
  }

  input(one: GoldenCase, name: string): Tensor {
    return this.tensor(one.inputs[name]!);
  }

  output(one: GoldenCase, name: string): Tensor {
    return this.tensor(one.outputs[name]!);
  }
}

/** Largest absolute difference of two tensors of one size. */
export function maxDifference(actual: Tensor, expected: Tensor): number {
  const a = actual.toFloat32();
  const b = expected.to("f32" as DType).toFloat32();
  let worst = a.length === b.length ? 0 : Number.POSITIVE_INFINITY;
  for (let i = 0; i < b.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return worst;
}

/** Asserts shape and values, within `times` the golden tolerance. */
export function expectClose(actual: Tensor, expected: Tensor, atol: number, label = "", times = 1): void {
  expect(actual.dims, `${label} shape`).toEqual(expected.dims);
  expect(maxDifference(actual, expected), `${label} max |a - b|`).toBeLessThanOrEqual(atol * times);
}
