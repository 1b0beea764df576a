/**
 * @file A slow evaluator of graphs in double precision, in plain TypeScript: what every kernel and every gradient is
 * checked against. It follows the definitions and shares nothing with the runtimes.
 */

import { type OpName, topologicalOrder, type Value } from "../../src/graph/index.js";
import { count, formatDims, type Tensor } from "../../src/tensor/index.js";
import { type Numbers, numbersOf } from "./numbers.js";
import { type Operation, operations } from "./operations.js";

/**
 * @param outputs name of each output -> its value
 * @param feeds name of each input -> its numbers, of any element type (f64 for finite differences)
 * @param given numbers of values that are taken instead of computed
 */
export function evaluate(
  outputs: Readonly<Record<string, Value>>,
  feeds: Readonly<Record<string, Tensor>> = {},
  given: ReadonlyMap<Value, Numbers> = new Map(),
): Record<string, Numbers> {
  const fed = new Map(Object.entries(feeds).map(([name, tensor]) => [name, numbersOf(tensor)]));
  const results = new Map(given);
  for (const value of topologicalOrder(Object.values(outputs), new Set(given.keys()))) {
    if (given.has(value)) continue;
    const operation = operations[value.op] as Operation<OpName>;
    const inputs = value.inputs.map((one) => results.get(one)!);
    const data = operation(value, inputs, fed);
    if (data.length !== count(value.dims)) {
      throw new Error(`${value.op} gives ${data.length} numbers for ${formatDims(value.dims)}`);
    }
    results.set(value, { dims: value.dims, data });
  }
  return Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, results.get(value)!]));
}
