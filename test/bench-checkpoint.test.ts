/** @file The benchmark's random checkpoints: keys, shapes and order of the published files, and readable by name. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tensorsOf, writeWeights } from "../bench/checkpoint.js";
import { type Layout, parameterCount, textTensors, unetTensors, vaeTensors } from "../bench/layout.js";
import { decodeSafetensors } from "../src/tensor/index.js";
import { openModel } from "../src/weights/index.js";
import { Golden, goldenPath } from "./golden.js";

describe("tensors from a config", () => {
  it.each([
    ["sd21-base", "unet", 865_910_724],
    ["sd21-base", "vae", 83_653_863],
    ["sd21-base", "text_encoder", 340_387_840],
    ["sd15", "unet", 859_520_964],
    ["sd15", "vae", 83_653_863],
    ["sd15", "text_encoder", 123_060_480],
  ] as const)("%s %s has %i parameters", (model, component, parameters) => {
    expect(parameterCount(tensorsOf(model, component))).toBe(parameters);
  });

  it.each(["sd15", "sd21-base"] as const)("the U-Net of %s counts as diffusers counts it", (model) => {
    const { expected } = new Golden("tap-lists").case(model);
    expect(parameterCount(tensorsOf(model, "unet"))).toBe(expected.parameters);
  });

  it.each([
    ["unet-sd21", "", unetTensors],
    ["unet-sd15", "", unetTensors],
    ["pipeline-sd15", "vae", vaeTensors],
    ["clip-text-sd21", "", textTensors],
    ["clip-text-sd15", "", textTensors],
  ] as const)("has the keys, shapes and order of %s/%s", async (golden, component, tensors) => {
    const folder = await openModel(goldenPath(golden));
    const { entries } = await folder.checkpoint(component);
    const config = await folder.json(path.posix.join(component, "config.json"));
    const planned = tensors(config).map(({ key, dims }) => `${key} ${dims}`);
    const found = [...entries].map(([key, { dims }]) => `${key} ${dims}`);
    expect(new Set(planned)).toEqual(new Set(found));
    expect(planned).toEqual(found);
  });
});

describe("random weights", () => {
  const start = { kind: "constant", value: 0 } as const;
  const tensors: Layout = [
    { key: "ids", dims: [1, 3], role: "positions", dtype: "i64", start },
    { key: "conv.weight", dims: [64, 16, 3, 3], role: "weight", start },
    { key: "norm.weight", dims: [33], role: "scale", start },
  ];
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "diffsight-bench-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const written = async (dtype: "f32" | "f16") => {
    const file = path.join(folder, `${dtype}.safetensors`);
    await writeWeights(file, tensors, dtype);
    return decodeSafetensors(await readFile(file)).tensors;
  };

  it("have variance 1 / fan-in, scales around 1, and positions in order", async () => {
    const found = await written("f32");
    const weight = found.get("conv.weight")!.toFloat32();
    const variance = weight.reduce((sum, value) => sum + value * value, 0) / weight.length;
    expect(variance * 16 * 9).toBeCloseTo(1, 1);
    const scale = found.get("norm.weight")!.toFloat32();
    expect(scale.every((value) => value > 0.7 && value < 1.3)).toBe(true);
    expect(found.get("ids")!.toArray()).toEqual([[0, 1, 2]]);
  });

  it("are the same in f16, rounded", async () => {
    const half = (await written("f16")).get("conv.weight")!;
    const full = (await written("f32")).get("conv.weight")!;
    expect(half.data).toEqual(full.to("f16").data);
  });
});
