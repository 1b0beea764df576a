/** @file Every operation on every memory preset against the evaluator in double precision, over random shapes. */

import { afterAll, beforeAll, describe, it } from "vitest";
import { Engine, presets } from "../src/engine/index.js";
import { Bench, expectExact } from "./reference/bench.js";
import { sample, uses } from "./reference/cases.js";

const ops = Object.keys(uses) as (keyof typeof uses)[];

describe.each(presets)("on the CPU, %s", (memory) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.open({ device: "cpu", memory });
  });
  afterAll(() => engine.dispose());

  it.each(ops)("%s", async (op) => {
    const bench = new Bench(1);
    for (const use of sample(op, 24, 1)) bench.want(use(bench));
    await expectExact(engine, bench);
  });
});
