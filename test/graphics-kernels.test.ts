/** @file What is written otherwise for graphics cards, computed on the CPU against the evaluator in double precision. */

import { afterAll, beforeAll, describe, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { unfusedKernels } from "../src/graph/index.js";
import { Bench, expectExact } from "./reference/bench.js";
import { sample } from "./reference/cases.js";

describe("for graphics cards", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.open({ device: "cpu", kernels: unfusedKernels });
  });
  afterAll(() => engine.dispose());

  it.each(["attention", "groupNorm", "layerNorm"] as const)("%s", async (op) => {
    const bench = new Bench(1);
    for (const use of sample(op, 40, 1)) bench.want(use(bench));
    await expectExact(engine, bench);
  });
});
