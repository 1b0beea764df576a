/** @file CLIP's image encoder against transformers, once per preset. */

import { afterAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { input, type Value } from "../src/graph/index.js";
import { clipVision, readClipVisionConfig, visionPatches } from "../src/models/index.js";
import { Tensor } from "../src/tensor/index.js";
import { openModel, Scope } from "../src/weights/index.js";
import { expectClose, Golden, goldenPath, maxDifference } from "./golden.js";
import { algorithms } from "./kernels.js";

const golden = new Golden("clip-vision");
const folder = await openModel(goldenPath("clip-vision"));
const config = readClipVisionConfig(await folder.json("config.json"));
const checkpoint = await folder.checkpoint("");

const engines = new Map<string, Promise<Engine>>();
afterAll(async () => {
  for (const engine of engines.values()) await (await engine).dispose();
});

/** Every output in transformers' name. */
function written(pixels: Tensor, visible?: Value): Record<string, Value> {
  const { hiddenStates, lastHiddenState, pooled } = clipVision(
    Scope.of(checkpoint),
    config,
    input("pixels", pixels.dims),
    { visible },
  );
  return {
    ...Object.fromEntries(hiddenStates.map((state, i) => [`hidden_states.${i}`, state])),
    "patches.-2": visionPatches(hiddenStates.at(-2)!),
    last_hidden_state: lastHiddenState,
    pooler_output: pooled,
  };
}

describe.each(algorithms)("CLIP vision with $name", ({ name, options, times }) => {
  it.each(golden.cases)("$name: states and vector equal transformers'", async (one) => {
    const pixels = golden.input(one, "pixel_values");
    const outputs = written(pixels);
    const wanted = Object.fromEntries(Object.keys(one.outputs).map((output) => [output, outputs[output]!]));
    if (!engines.has(name)) engines.set(name, Engine.open({ device: "cpu", ...options }));
    const program = (await engines.get(name)!).compile(wanted);
    const results = await program.run({ pixels });
    await program.release();
    for (const [output, entry] of Object.entries(one.outputs)) {
      expectClose(results[output]!, golden.output(one, output), entry.atol!, output, times);
    }
  });
});

describe("visible patches", () => {
  const one = golden.case("case0");
  const pixels = golden.input(one, "pixel_values");
  const run = async (rows: number[][]) => {
    const visible = Tensor.i64([rows.length, rows[0]!.length], rows.flat());
    const outputs = written(pixels, input("visible", visible.dims, "i64"));
    await using engine = await Engine.open({ device: "cpu" });
    const state = { states: outputs.last_hidden_state!, pooled: outputs.pooler_output! };
    return await engine.compile(state).run({ pixels, visible });
  };
  const all = [0, 1, 2, 3, 4, 5, 6, 7, 8];

  it("that are all of them change nothing", async () => {
    const { states } = await run([all, all.map((patch) => 9 + patch)]);
    const { atol } = one.outputs.last_hidden_state!;
    expectClose(states!, golden.output(one, "last_hidden_state"), atol!, "states");
  });

  it("keep their places: the order in which they are named does not matter to the class token", async () => {
    const { states, pooled } = await run([
      [1, 4, 8],
      [9, 10, 17],
    ]);
    const other = await run([
      [8, 1, 4],
      [17, 9, 10],
    ]);
    expect(states!.dims).toEqual([2, 4, config.hiddenSize]);
    expect(maxDifference(pooled!, other.pooled!)).toBeLessThan(1e-5);
    const fewer = golden.output(one, "pooler_output");
    expect(maxDifference(pooled!, fewer)).toBeGreaterThan(1e-2);
  });
});

describe("a config", () => {
  it("has transformers' defaults", () => {
    expect(readClipVisionConfig({})).toMatchObject({ hiddenSize: 768, patchSize: 32, grid: 7, eps: 1e-5 });
  });

  it.each([
    [{ model_type: "siglip_vision_model" }, /model_type: "siglip_vision_model" is not supported/],
    [
      { hidden_size: 30, num_attention_heads: 4 },
      /hidden_size 30 does not divide into num_attention_heads 4/,
    ],
    [{ patch_size: 32, image_size: 16 }, /patch_size 32 exceeds image_size 16/],
    [{ hidden_act: "mish" }, /hidden_act/],
  ])("%j is refused by name", (json, message) => {
    expect(() => readClipVisionConfig(json)).toThrow(message);
  });

  it("tells how small a picture may be", () => {
    const tiny = () => clipVision(Scope.of(checkpoint), config, input("pixels", [1, 3, 13, 42]));
    expect(tiny).toThrow(/42 x 13 pixels has no patch: one takes 14 x 14/);
  });
});
