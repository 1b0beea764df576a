/** @file Gradients of what is computed number by number, and of reductions. */

import { count } from "../../tensor/index.js";
import { add, div, equal, erf, exp, expand, greater, mul, scalar, sigmoid, sub, sum, tanh } from "../ops.js";
import type { Value } from "../value.js";
import { type GradientRules, nothing, unbroadcast } from "./rule.js";

/** The inputs of an operation with two. */
const pair = ({ inputs }: Value) => inputs as unknown as readonly [Value, Value];

/** An operation of one input, by its derivative, which is often shortest from the result `y`. */
const by =
  (derivative: (x: Value, y: Value) => Value) =>
  (value: Value, dy: Value): [() => Value] => [() => mul(dy, derivative(value.inputs[0]!, value))];

/** 1 - x */
const rest = (x: Value) => sub(scalar(1), x);

/** Of x σ(a x), from the result y: σ + a y (1 - σ) */
function gatedDerivative(x: Value, y: Value, a: number): Value {
  const gate = sigmoid(a === 1 ? x : mul(x, a));
  const slope = mul(y, rest(gate));
  return add(gate, a === 1 ? slope : mul(slope, a));
}

/** Φ(x) + x φ(x); with s = x / √2: (erf s + 2/√π s e^(-s²) + 1) / 2. Where e^(s²) is infinite, the middle is 0. */
function geluDerivative(x: Value): Value {
  const s = mul(x, Math.SQRT1_2);
  const bell = mul(div(s, exp(mul(s, s))), 1 / Math.sqrt(Math.PI));
  return add(add(mul(erf(s), 0.5), bell), 0.5);
}

/** With t = tanh(√(2/π) (x + 0.044715 x³)): (1 + t + x (1 - t²) √(2/π) (1 + 0.134145 x²)) / 2 */
function geluTanhDerivative(x: Value): Value {
  const [factor, cubic] = [Math.sqrt(2 / Math.PI), 0.044715];
  const square = mul(x, x);
  const t = tanh(mul(x, add(mul(square, factor * cubic), factor)));
  const slope = mul(x, add(mul(square, 1.5 * factor * cubic), 0.5 * factor));
  return add(mul(add(t, 1), 0.5), mul(slope, rest(mul(t, t))));
}

/** How many numbers a mean is taken of. */
const terms = (value: Value) => count(value.inputs[0]!.dims) / count(value.dims);

export const elementwise = {
  add: (value, dy) =>
    pair(value).map(
      ({ dims }) =>
        () =>
          unbroadcast(dy, dims),
    ),
  sub: (value, dy) => {
    const [a, b] = pair(value);
    return [() => unbroadcast(dy, a.dims), () => mul(unbroadcast(dy, b.dims), -1)];
  },
  mul: (value, dy) => {
    const [a, b] = pair(value);
    if (a === b) return [() => mul(mul(dy, 2), a)];
    return [() => unbroadcast(mul(dy, b), a.dims), () => unbroadcast(mul(dy, a), b.dims)];
  },
  div: (value, dy) => {
    const [a, b] = pair(value);
    return [
      () => unbroadcast(div(dy, b), a.dims),
      () => mul(unbroadcast(mul(dy, div(value, b)), b.dims), -1),
    ];
  },
  equal: nothing,
  greater: nothing,

  exp: by((_, y) => y),
  log: ({ inputs: [x] }, dy) => [() => div(dy, x!)],
  sqrt: (value, dy) => [() => div(mul(dy, 0.5), value)],
  abs: by((x) => sub(greater(x, 0), greater(mul(x, -1), 0))),
  erf: by((x) => mul(exp(mul(mul(x, x), -1)), 2 / Math.sqrt(Math.PI))),
  tanh: by((_, y) => rest(mul(y, y))),
  sigmoid: by((_, y) => mul(y, rest(y))),
  relu: by((x) => greater(x, 0)),
  silu: by((x, y) => gatedDerivative(x, y, 1)),
  quickGelu: by((x, y) => gatedDerivative(x, y, 1.702)),
  gelu: (value, dy) => {
    const derivative = value.attributes.approximate === "tanh" ? geluTanhDerivative : geluDerivative;
    return [() => mul(dy, derivative(value.inputs[0]!))];
  },
  // At the limits themselves too, as torch's.
  clamp: (value, dy) => [() => mul(dy, equal(value.inputs[0]!, value))],
  detach: nothing,

  mean: (value, dy) => [() => expand(mul(dy, 1 / terms(value)), value.inputs[0]!.dims)],
  sum: ({ inputs: [x] }, dy) => [() => expand(dy, x!.dims)],
  // Equal ones share it, as torch's `amax` does.
  max: (value, dy) => {
    const [x] = value.inputs as [Value];
    return [
      () => {
        const largest = equal(x, value);
        return mul(largest, div(dy, sum(largest, ...value.attributes.axes)));
      },
    ];
  },
} satisfies Partial<GradientRules>;
