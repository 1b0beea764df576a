/** @file WebGPU in Node, without a graphics card: Chromium's software Vulkan (SwiftShader) under onnxruntime-node. */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { DiffusionEncoder } from "../src/diffusion/index.js";
import { Engine } from "../src/engine/index.js";
import { add, attention, conv2d, groupNorm, layerNorm, mul } from "../src/graph/index.js";
import type { Tensor } from "../src/tensor/index.js";
import { Golden, goldenPath, maxDifference } from "./golden.js";
import { Bench, expectExact } from "./reference/bench.js";
import { sample, uses } from "./reference/cases.js";
import { randomGraphs } from "./reference/random-graph.js";

const chromium = "/usr/lib/chromium";
const driver = path.join(chromium, "vk_swiftshader_icd.json");
const needs = "(needs the software Vulkan of Chromium: apt-get install chromium-common)";

function rms(tensor: Tensor): number {
  const data = tensor.toFloat32();
  return Math.sqrt(data.reduce((sum, one) => sum + one * one, 0) / data.length);
}

describe.skipIf(!existsSync(driver))(`on WebGPU ${needs}`, () => {
  const runtime = mkdtempSync(path.join(tmpdir(), "diffsight-webgpu-"));
  let engine: Engine;

  // The process that computes is started with this environment.
  beforeAll(async () => {
    vi.stubEnv("VK_ICD_FILENAMES", driver);
    vi.stubEnv("LD_LIBRARY_PATH", chromium);
    vi.stubEnv("XDG_RUNTIME_DIR", runtime);
    engine = await Engine.open({ device: "webgpu" });
  });
  afterAll(async () => {
    await engine.dispose();
    vi.unstubAllEnvs();
    rmSync(runtime, { recursive: true });
  });

  it.each(Object.keys(uses) as (keyof typeof uses)[])("%s", async (op) => {
    const bench = new Bench(1);
    for (const use of sample(op, 8, 1)) bench.want(use(bench));
    await expectExact(engine, bench, 1e-4);
  });

  it("convolutions of every number of channels", async () => {
    const bench = new Bench(2);
    for (let channels = 1; channels <= 16; channels++) {
      for (const filters of [3, 4, 8]) {
        const weight = bench.parameter([filters, channels, 3, 3], "f32", 9 * channels);
        bench.want(conv2d(bench.input([1, channels, 5, 6]), weight, undefined, { padding: 1 }));
      }
    }
    await expectExact(engine, bench, 1e-4);
  });

  it("attention over many keys, biased and causal", async () => {
    const bench = new Bench(3);
    for (const [queries, keys] of [
      [77, 77],
      [256, 256],
      [256, 77],
      [3, 300],
    ] as const) {
      for (const causal of [false, true]) {
        if (causal && keys < queries) continue;
        const of = (length: number) => bench.input([1, length, 32]);
        const bias = bench.input([1, 1, queries, keys]);
        bench.want(attention(of(queries), of(keys), of(keys), { heads: 2, scale: 0.25, causal, bias }));
      }
    }
    await expectExact(engine, bench, 1e-4);
  });

  it("normalisations with one epsilon and another, around large means", async () => {
    const bench = new Bench(4);
    for (const eps of [1e-5, 1e-6, 1e-2]) {
      const scale = bench.parameter([8]);
      const small = mul(bench.input([1, 8, 6, 6]), 1e-3);
      bench.want(groupNorm(small, scale, scale, { groups: 4, eps }));
      bench.want(layerNorm(mul(bench.input([1, 6, 8]), 1e-3), scale, scale, { eps }));
      bench.want(groupNorm(add(bench.input([1, 8, 6, 6]), 30), scale, scale, { groups: 4, eps }));
      bench.want(layerNorm(add(bench.input([1, 6, 8]), 30), scale, scale, { eps }));
    }
    await expectExact(engine, bench, 1e-4);
  });

  it("graphs of many operations", async () => {
    const bench = new Bench(5);
    for (const { outputs } of randomGraphs(bench, 10, 3)) for (const value of outputs) bench.want(value);
    await expectExact(engine, bench, 1e-3);
  });

  it("a pipeline's features equal diffusers' within 1e-3 of their size", async () => {
    const golden = new Golden("pipeline-sd21");
    const one = golden.case("features2-empty-prompt");
    const { timestep, seed, guidance, width, height, prompt } = one.args;
    await using eye = await DiffusionEncoder.fromPretrained(goldenPath("pipeline-sd21"), {
      device: "webgpu",
    });
    expect(eye.device).toBe("webgpu");
    const names = Object.keys(one.outputs).filter((key) => key.endsWith(".c"));
    const taps = names.map((name) => name.slice(0, -2));
    const seen = await eye.encode(goldenPath("pipeline-sd21", "images", one.args.image), {
      prompt,
      taps,
      timesteps: [timestep],
      seed,
      guidance,
      size: [width, height],
      parts: ["conditional"],
    });
    expect(taps.length).toBeGreaterThan(2);
    for (const tap of taps) {
      const expected = golden.output(one, `${tap}.c`);
      expect(maxDifference(seen.get(tap), expected) / rms(expected), tap).toBeLessThan(1e-3);
    }
  });
});
