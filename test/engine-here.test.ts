/** @file Sessions in the calling thread: the bits of those in a process, and no copies of what lies aligned. */

import { describe, expect, it } from "vitest";
import { alignedTensors, Engine } from "../src/engine/index.js";
import { add, input, matmul, mul, parameter, softmax } from "../src/graph/index.js";
import { type DiffsightError, Tensor, TorchGenerator } from "../src/tensor/index.js";

const random = new TorchGenerator(7);
const a = input("a", [33, 70]);
const weights = random.randn([70, 90]);
const w = parameter("w", [70, 90], "f32", { bytes: new Uint8Array(weights.data.buffer) });
const product = matmul(a, w);
const outputs = { product, seen: softmax(add(product, 1)) };
const feeds = { a: random.randn([33, 70]) };
const options = { device: "cpu", memory: "fast", threads: 1 } as const;

describe("sessions in the calling thread", () => {
  it("give the bits of those in a process", async () => {
    await using there = await Engine.open(options);
    await using here = await Engine.open({ ...options, host: "here" });
    const expected = await there.compile(outputs).run(feeds);
    const program = here.compile(outputs);
    expect(await program.run(feeds)).toEqual(expected);
    const shapes = { a: { dtype: "f32", dims: [33, 70] }, w: { dtype: "f32", dims: [70, 90] } } as const;
    const placed = alignedTensors(shapes);
    (placed.a.data as Float32Array).set(feeds.a.toFloat32());
    (placed.w.data as Float32Array).set(weights.toFloat32());
    expect(await program.run({ a: placed.a })).toEqual(expected);
    const given = here.compile(outputs, { given: new Map([[w, "w"]]) });
    expect((await given.run(placed)).seen!.dims).toEqual([33, 90]);
  });

  it("write outputs to their places, and leave the others alone", async () => {
    await using here = await Engine.open({ ...options, host: "here" });
    const program = here.compile(outputs);
    const expected = await program.run(feeds);
    const { product } = alignedTensors({ product: { dtype: "f32", dims: [33, 90] } });
    for (let round = 0; round < 2; round++) {
      product.data.fill(0 as never);
      const results = await program.run(feeds, { into: { product } });
      expect(results.product).toBe(product);
      expect(results).toEqual(expected);
    }
  });

  it("say what was wrong with a place", async () => {
    await using here = await Engine.open({ ...options, host: "here" });
    const program = here.compile(outputs);
    const error = await program.run(feeds, { into: { product: Tensor.f32([33, 91]) } }).catch((e) => e);
    expect((error as DiffsightError).code).toBe("SHAPE");
    await program.release();
    expect((await program.run(feeds)).product!.dims).toEqual([33, 90]);
  });

  it("write to places from a process too", async () => {
    await using there = await Engine.open(options);
    const place = Tensor.f32([33, 70]);
    const results = await there.compile({ twice: mul(a, 2) }).run(feeds, { into: { twice: place } });
    expect(results.twice).toBe(place);
    expect(place.data[5]).toBe(2 * (feeds.a.data[5] as number));
  });
});
