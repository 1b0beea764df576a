/** @file Reverse-mode differentiation: the gradients of a loss are values of the same graph. */

import { count, formatDims, misuse, Tensor } from "../../tensor/index.js";
import { add, concat, constant, expand, pad, scalar } from "../ops.js";
import { dependents, isOp, type OpName, topologicalOrder, type Value } from "../value.js";
import { elementwise } from "./elementwise.js";
import { language } from "./language.js";
import { movement } from "./movement.js";
import { norms } from "./norms.js";
import { products } from "./products.js";
import { recomputing } from "./recompute.js";
import { type GradientRule, type GradientRules, nothing, onlyOnce } from "./rule.js";

/** One rule an operation; a missing one does not compile. */
const rules: GradientRules = {
  input: nothing,
  parameter: nothing,
  constant: nothing,
  ...elementwise,
  ...products,
  ...language,
  ...norms,
  ...movement,
  after: onlyOnce,
};

export interface GradientOptions {
  /**
   * Gradient checkpointing: of all values only these (and leaves) are kept for the gradients; what lies between them is
   * computed a second time, from them, when its gradients are. The results of a network's blocks are good ones.
   */
  recompute?: ReadonlySet<Value>;
}

/**
 * The gradients of a loss.
 * @param loss one number, of dims [] or [1]
 * @param of f32 values that the loss is computed from, leaves or not; parameters in half precision too
 * @returns for each of them the gradient, of its dims: zeros where the loss does not depend on it
 * @throws DiffsightError GRADIENT for a loss of many numbers, and for values of integers
 */
export function gradients(loss: Value, of: readonly Value[], { recompute }: GradientOptions = {}): Value[] {
  if (count(loss.dims) !== 1 || loss.dims.length > 1 || loss.dtype !== "f32") {
    throw misuse(
      "GRADIENT",
      `A loss is one f32 number, [] or [1], not ${loss.dtype} ${formatDims(loss.dims)}.`,
    );
  }
  for (const { op, dims, dtype } of of) {
    if (dtype === "f32") continue;
    throw misuse("GRADIENT", `${op} ${formatDims(dims)} is ${dtype}: only f32 values have gradients.`);
  }
  const needed = dependents([loss], new Set(of));
  const received = new Map<Value, Value>([[loss, constant(Tensor.f32(loss.dims, [1]))]]);
  const seen = recompute ? recomputing(recompute) : (value: Value) => value;

  for (const value of topologicalOrder([loss]).reverse()) {
    const dy = received.get(value);
    if (!dy || !value.inputs.some((input) => needed.has(input))) continue;
    const rule = rules[value.op] as GradientRule<OpName>;
    rule(seen(value, dy), dy).forEach((gradient, i) => {
      const input = value.inputs[i]!;
      if (!gradient || !needed.has(input)) return;
      const before = received.get(input);
      received.set(input, before ? total(before, gradient()) : gradient());
    });
  }
  return of.map((value) => received.get(value) ?? expand(scalar(0), value.dims));
}

/** The sum of two gradients. Those of neighbouring slices, zeros around them, are joined instead. */
function total(a: Value, b: Value): Value {
  if (!isOp(a, "pad") || !isOp(b, "pad")) return add(a, b);
  const [first, second] = a.attributes.before.some((cells, axis) => cells > b.attributes.before[axis]!)
    ? [b, a]
    : [a, b];
  const { before, after } = first.attributes;
  const axes = [...first.dims.keys()].filter((axis) => after[axis] !== second.attributes.after[axis]);
  const [axis] = axes;
  const isNext =
    axes.length === 1 &&
    second.attributes.before.every((cells, i) => {
      return cells === before[i]! + (i === axis ? first.inputs[0]!.dims[i]! : 0);
    });
  if (!isNext) return add(a, b);
  const joined = concat([first.inputs[0]!, second.inputs[0]!], axis!);
  return pad(joined, before, second.attributes.after);
}
