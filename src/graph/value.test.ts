/** @file Walking graphs: order, what depends on what, and where a graph is cut. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Tensor } from "../tensor/index.js";
import { add, constant, exp, input, mul, parameter, scalar, tanh } from "./ops.js";
import { dependents, frontier, topologicalOrder, type Value } from "./value.js";

const sources = () => ({ image: input("image", [2]), text: input("text", [2]) });

/** Graphs over two inputs: each step joins two earlier values, or changes one. */
const graphs = fc
  .array(fc.tuple(fc.nat(), fc.nat(), fc.nat(2)), { minLength: 1, maxLength: 40 })
  .map((steps) => {
    const { image, text } = sources();
    const values: Value[] = [
      image,
      text,
      scalar(2),
      parameter("w", [2], "f32", { bytes: new Uint8Array(8) }),
    ];
    for (const [a, b, kind] of steps) {
      const [x, y] = [values[a % values.length]!, values[b % values.length]!];
      values.push(kind === 0 ? tanh(x) : kind === 1 ? add(x, y) : mul(x, y));
    }
    return { image, text, values };
  });

const isLeaf = ({ op }: Value) => op === "input" || op === "parameter" || op === "constant";

/** Everything a value needs, by the definition. */
function ancestors(value: Value, found = new Set<Value>()): Set<Value> {
  if (found.has(value)) return found;
  found.add(value);
  for (const one of value.inputs) ancestors(one, found);
  return found;
}

describe("topological order", () => {
  it("has every needed value once, inputs before users", () => {
    fc.assert(
      fc.property(graphs, fc.nat(), ({ values }, pick) => {
        const output = values[pick % values.length]!;
        const order = topologicalOrder([output]);
        expect(new Set(order)).toEqual(ancestors(output));
        expect(order.length).toBe(new Set(order).size);
        const place = new Map(order.map((value, i) => [value, i]));
        for (const value of order) {
          for (const one of value.inputs) expect(place.get(one)).toBeLessThan(place.get(value)!);
        }
      }),
    );
  });

  it("does not enter what is given", () => {
    const { image } = sources();
    const given = exp(image);
    const output = add(given, 1);
    expect(topologicalOrder([output], new Set([given]))).not.toContain(image);
  });

  it("walks a chain of 100,000 values", () => {
    let value: Value = input("x", [1]);
    for (let i = 0; i < 100_000; i++) value = exp(value);
    expect(topologicalOrder([value])).toHaveLength(100_001);
    expect(dependents([value], new Set([value.inputs[0]!]))).toContain(value);
  });
});

describe("dependents", () => {
  it("are the values with a source among their ancestors", () => {
    fc.assert(
      fc.property(graphs, ({ text, values }) => {
        const found = dependents(values, new Set([text]));
        for (const value of values) expect(found.has(value)).toBe(ancestors(value).has(text));
      }),
    );
  });
});

describe("frontier", () => {
  it("separates what depends on the sources from what does not", () => {
    fc.assert(
      fc.property(graphs, fc.array(fc.nat(), { minLength: 1, maxLength: 4 }), ({ text, values }, picks) => {
        const outputs = picks.map((pick) => values[pick % values.length]!);
        const cut = new Set(frontier(outputs, new Set([text])));
        const dependent = dependents(outputs, new Set([text]));

        // Nothing of the cut depends on the sources, and no leaf is cut that only feeds others.
        for (const value of cut) expect(dependent.has(value)).toBe(false);
        for (const value of cut) if (isLeaf(value)) expect(outputs).toContain(value);

        // With the cut given, only leaves and dependents are left to compute.
        for (const value of topologicalOrder(outputs, cut)) {
          expect(cut.has(value) || dependent.has(value) || isLeaf(value)).toBe(true);
        }

        // It is the smallest such cut: each value of it is asked for, by the caller or by a dependent.
        for (const value of cut) {
          const wanted = outputs.includes(value);
          expect(wanted || [...dependent].some((one) => one.inputs.includes(value))).toBe(true);
        }
      }),
    );
  });

  it("is empty when everything depends on the sources", () => {
    const { text } = sources();
    expect(frontier([add(exp(text), constant(Tensor.f32([2], [1, 2])))], new Set([text]))).toEqual([]);
  });
});
