/** @file Programs of any size, and rows that stay where they compute. */

import { describe, expect, it } from "vitest";
import { Engine, KeptRows } from "../src/engine/index.js";
import {
  add,
  input,
  linear,
  mul,
  parameter,
  reshape,
  sum,
  transpose,
  type Value,
} from "../src/graph/index.js";
import { DiffsightError, Tensor } from "../src/tensor/index.js";

const ones = (dims: number[], value = 1) =>
  Tensor.f32(dims, new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(value));

/** The sum of all rows so far, and the new rows doubled, to be kept. */
function totals(engine: Engine) {
  const program = engine.compileForAnySize(["past", "new"], (sizes) => {
    const fresh = mul(input("fresh", [sizes.new, 3]), 2);
    return { total: add(sum(input("past", [sizes.past, 3]), 0), sum(fresh, 0)), rows: fresh };
  });
  return { program, rows: new KeptRows(engine, [{ input: "past", output: "rows", dims: [3] }]) };
}

describe("a program of any size", () => {
  it("computes with linear layers, whatever the number of rows", async () => {
    await using engine = await Engine.open({ device: "cpu", host: "here" });
    const bytes = new Uint8Array(new Float32Array([1, 2, 3, 4, 5, 6]).buffer);
    const program = engine.compileForAnySize(["rows"], ({ rows }) => {
      const weight = parameter("w", [2, 3], "f32", { bytes });
      return { y: linear(input("x", [1, rows, 3]), weight) };
    });
    expect(program.inputs).toEqual([expect.objectContaining({ name: "x", dims: [1, "rows", 3] })]);
    for (const rows of [1, 2, 50]) {
      const { y } = await program.run({ x: ones([1, rows, 3]) });
      expect(y!.dims).toEqual([1, rows, 2]);
      expect([...y!.data.slice(-2)]).toEqual([6, 15]);
    }
  });

  it("refuses operations that depend on a size, by name", async () => {
    await using engine = await Engine.open({ device: "cpu", host: "here" });
    const compile = (write: (rows: Value) => Value) =>
      engine.compileForAnySize(["rows"], ({ rows }) => ({ y: write(input("x", [rows, 6])) }));
    expect(() => compile((x) => reshape(transpose(x, [1, 0]), [3, 2, x.dims[0]!]))).toThrow(
      /Reshape of .* depends on a size/,
    );
    expect(() => compile((x) => add(x, linear(ofSize(x.dims[0]!), ofSize(6))))).toThrow(DiffsightError);
  });

  it("refuses sizes that do not agree", async () => {
    await using engine = await Engine.open({ device: "cpu", host: "here" });
    const program = engine.compileForAnySize(["rows"], ({ rows }) => ({
      y: add(input("a", [rows, 2]), input("b", [rows, 2])),
    }));
    await expect(program.run({ a: ones([3, 2]), b: ones([4, 2]) })).rejects.toThrow(
      "Input b must be [rows, 2] where rows = 3, not [4, 2].",
    );
  });
});

/** [n, 6] of zeros, in memory. */
function ofSize(n: number): Value {
  return parameter("w", [n, 6], "f32", { bytes: new Uint8Array(24 * n) });
}

describe.each(["process", "here"] as const)("rows kept in the host, %s", (host) => {
  it("are those that earlier runs wrote, from the row that the run says", async () => {
    await using engine = await Engine.open({ device: "cpu", host });
    const { program, rows } = totals(engine);
    const run = async (at: number, fresh: number) => {
      const results = await program.run({ fresh: ones([fresh, 3]) }, { kept: { rows, at } });
      expect(Object.keys(results)).toEqual(["total"]);
      return results.total!.data[0];
    };
    expect(await run(1, 2)).toBe(4); // the first row is of zeros
    expect(await run(3, 100)).toBe(204);
    expect(await run(103, 500)).toBe(1204);
    expect(await run(2, 1)).toBe(4);
    expect(await run(603, 1)).toBe(1206);
    await rows.release();
    expect(await run(5, 1)).toBe(2);
  });

  it("are apart from those of others", async () => {
    await using engine = await Engine.open({ device: "cpu", host });
    const { program, rows } = totals(engine);
    const others = new KeptRows(engine, rows.tensors);
    await program.run({ fresh: ones([4, 3]) }, { kept: { rows, at: 1 } });
    const { total } = await program.run({ fresh: ones([1, 3]) }, { kept: { rows: others, at: 9 } });
    expect(total!.data[0]).toBe(2);
    await expect(program.run({ fresh: ones([1, 3]) }, { kept: { rows, at: 0 } })).rejects.toThrow("1 row");
  });
});

it("rows are lost with the process that computed them, and say so", async () => {
  await using engine = await Engine.open({ device: "cpu" });
  const { program, rows } = totals(engine);
  await program.run({ fresh: ones([4, 3]) }, { kept: { rows, at: 1 } });
  expect(rows.lost).toBe(false);
  const cancel = new AbortController();
  const many = ones([4_000_000, 3]);
  const cancelled = program.run({ fresh: many }, { kept: { rows, at: 5 }, signal: cancel.signal });
  await new Promise((resolve) => setTimeout(resolve, 5));
  cancel.abort();
  await expect(cancelled).rejects.toMatchObject({ code: "ABORTED" });
  expect(rows.lost).toBe(true);
  await expect(program.run({ fresh: ones([1, 3]) }, { kept: { rows, at: 5 } })).rejects.toMatchObject({
    code: "ROWS_LOST",
  });
  await rows.release();
  const { total } = await program.run({ fresh: ones([1, 3]) }, { kept: { rows, at: 1 } });
  expect(total!.data[0]).toBe(2);
});
