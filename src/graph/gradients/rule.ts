/** @file What a gradient rule is. */

import { type Dims, misuse } from "../../tensor/index.js";
import { mul, reshape, sub, sum } from "../ops.js";
import type { OpName, Value } from "../value.js";

/**
 * How a result's gradient reaches the inputs, one entry an input: the gradient is only written when it is asked for, and
 * there is none where nothing can flow.
 * @param value with its inputs and its attributes
 * @param dy the gradient of the result, of its dims
 */
export type GradientRule<K extends OpName> = (
  value: Value<K>,
  dy: Value,
) => readonly ((() => Value) | undefined)[];

/** Part of the table of rules. */
export type GradientRules = { [K in OpName]: GradientRule<K> };

/** For what nothing flows through: leaves, comparisons, what is detached. */
export const nothing = (): [] => [];

/** For operations that gradients are made of. */
export function onlyOnce({ op }: Value): never {
  throw misuse("GRADIENT", `There is no gradient of ${op}: second derivatives are not supported.`);
}

/** Computes a value when it is first asked for, for rules whose inputs share it. */
export function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** The sum over what broadcasting repeated: of the shape `dims` again. */
export function unbroadcast(dy: Value, dims: Dims): Value {
  const missing = dy.dims.length - dims.length;
  const repeated = dy.dims.flatMap((size, axis) => {
    const own = axis < missing ? 1 : dims[axis - missing]!;
    return own === 1 && (size !== 1 || axis < missing) ? [axis] : [];
  });
  const summed = repeated.some((axis) => dy.dims[axis]! > 1) ? sum(dy, ...repeated) : dy;
  return `${summed.dims}` === `${dims}` ? summed : reshape(summed, dims);
}

/** Of a softmax over the last axis, from its result: y (dy - Σ y dy) */
export function softmaxGradient(y: Value, dy: Value): Value {
  return mul(y, sub(dy, sum(mul(y, dy), -1)));
}
