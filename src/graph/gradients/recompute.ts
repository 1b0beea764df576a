/** @file Gradient checkpointing: values computed a second time, after the gradients have come to them. */

import type { Value } from "../value.js";
import { after } from "./operations.js";

/**
 * For a gradient rule, each value as it would be had its inputs been forgotten.
 * @param kept what is not forgotten, besides leaves
 */
export function recomputing(kept: ReadonlySet<Value>): (value: Value, dy: Value) => Value {
  const copies = new Map<Value, Value>();
  const isKept = (value: Value) => value.inputs.length === 0 || kept.has(value);

  /** The value from kept ones alone, none of which is touched before `dy` is there. */
  const again = (value: Value, dy: Value): Value => {
    if (isKept(value)) return value.inputs.length === 0 ? value : after(value, dy);
    const known = copies.get(value);
    if (known) return known;
    const copy = { ...value, inputs: value.inputs.map((input) => again(input, dy)) };
    copies.set(value, copy);
    return copy;
  };

  return (value, dy) => {
    if (!isKept(value)) return again(value, dy);
    return { ...value, inputs: value.inputs.map((input) => (isKept(input) ? input : again(input, dy))) };
  };
}
