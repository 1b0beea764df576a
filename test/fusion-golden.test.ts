/** @file Fusions against torch's own functions, once per preset that the table can choose. */

import { afterAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { input } from "../src/graph/index.js";
import { scopeOf } from "../src/training/index.js";
import { fusionSchema, planFusion } from "../src/vlm/index.js";
import { expectClose, Golden } from "./golden.js";

const golden = new Golden("fusion");
const presets = ["fast", "mmap", "low"] as const;
const engines = new Map<string, Promise<Engine>>();
afterAll(async () => {
  for (const engine of engines.values()) await (await engine).dispose();
});

describe.each(presets)("fusions with %s memory", (memory) => {
  it.each(golden.cases)("$name equals torch's", async (one) => {
    const program = planFusion(
      fusionSchema.parse({ normalisation: "none", ...one.args.config }),
      one.args.shapes,
    );
    const names = Object.keys(one.inputs);
    const weights = new Map(
      names.filter((name) => name.startsWith("fusion.")).map((name) => [name, golden.input(one, name)]),
    );
    expect(program.layout.map(({ key, dims }) => [key, dims])).toEqual(
      [...weights].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, { dims }]) => [key, dims]),
    );
    const feeds = Object.fromEntries(program.encoders.map((name) => [name, golden.input(one, name)]));
    const streams = Object.fromEntries(
      Object.entries(feeds).map(([name, { dims }]) => [name, input(name, dims)]),
    );
    const fused = program.fuse(scopeOf(weights), streams);
    expect(fused.dims.slice(1)).toEqual([program.output.tokens, program.output.width]);
    if (!engines.has(memory)) engines.set(memory, Engine.open({ device: "cpu", memory }));
    const compiled = (await engines.get(memory)!).compile({ fused });
    const results = await compiled.run(feeds);
    await compiled.release();
    expectClose(results.fused!, golden.output(one, "fused"), one.outputs.fused!.atol!, one.name);
  });
});
