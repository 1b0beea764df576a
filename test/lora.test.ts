/** @file Low-rank adapters against PEFT's (scripts/make-lora-golden.py): logits, loss, gradients, merged weights, files. */

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { constant, gradients, slice } from "../src/graph/index.js";
import {
  llama,
  llamaEmbeddings,
  llamaLogits,
  readLanguageConfig,
  rotaryTables,
} from "../src/models/index.js";
import { type DiffsightError, decodeSafetensors, Tensor } from "../src/tensor/index.js";
import { parametersOf, scopeOf } from "../src/training/index.js";
import { languageLoss } from "../src/training/losses.js";
import {
  adapted,
  adapterConfig,
  adapterLayout,
  isAdapter,
  loraSchema,
  Merging,
  peftKey,
} from "../src/training/speaker/adapter.js";
import { type ModelFolder, openModel } from "../src/weights/index.js";
import { goldenPath, maxDifference } from "./golden.js";

const tensorsOf = (file: string) => decodeSafetensors(readFileSync(goldenPath("lora", file))).tensors;
const golden = tensorsOf("cases.safetensors");
const saved = tensorsOf("adapter_model.safetensors");
const savedConfig = JSON.parse(readFileSync(goldenPath("lora", "adapter_config.json"), "utf8"));
const lora = loraSchema.parse({ r: 3, alpha: 5, dropout: 0, targets: ["q_proj", "v_proj", "down_proj"] });
const adapters = new Map([...saved].map(([key, one]) => [key.slice("base_model.model.".length), one]));

let folder: ModelFolder;
let json: unknown;
let engine: Engine;
beforeAll(async () => {
  folder = await openModel(goldenPath("projector-train", "llm"));
  json = await folder.json("config.json");
  engine = await Engine.open({ device: "cpu", memory: "mmap", threads: 1, host: "here" });
});
afterAll(() => engine.dispose());

/** The loss as transformers has it, and logits. */
async function written() {
  const config = readLanguageConfig(json);
  const w = scopeOf(adapters, await folder.checkpoint("")).adapting(adapted(lora, undefined));
  const ids = golden.get("ids")!;
  const [batch, length] = ids.dims as [number, number];
  const { cos, sin } = rotaryTables(
    config.rope,
    Array.from({ length }, (_, i) => i),
  );
  const embeds = llamaEmbeddings(w, constant(ids));
  const { lastHiddenState } = llama(w, config, { embeds, cos: constant(cos), sin: constant(sin) });
  const logits = llamaLogits(w, config, lastHiddenState);
  const all = Array.from(ids.data as BigInt64Array, Number);
  const next = all.filter((_, i) => i % length !== 0);
  const dims = [batch, length - 1];
  const ones = Tensor.f32(dims, new Float32Array(next.length).fill(1));
  const loss = languageLoss(
    slice(logits, 1, 0, length - 1),
    constant(Tensor.i64(dims, next)),
    constant(ones),
  );
  return { logits, loss };
}

describe("low-rank adapters", () => {
  it("give PEFT's logits, loss and gradients", async () => {
    const { logits, loss } = await written();
    const parameters = parametersOf({ inputs: {}, loss, metrics: {} });
    const keys = [...parameters.keys()].filter(isAdapter);
    expect(keys.sort()).toEqual([...adapters.keys()].sort());
    const slopes = gradients(
      loss,
      keys.map((key) => parameters.get(key)![0]!),
    );
    const outputs = Object.fromEntries(keys.map((key, i) => [`gradient ${key}`, slopes[i]!]));
    const made = await engine.compile({ logits, loss, ...outputs }).run({});
    for (const [name, tensor] of Object.entries(made)) {
      const expected = golden.get(name)!.reshape(tensor.dims);
      const size = Math.max(...expected.toFloat32().map(Math.abs));
      expect(maxDifference(tensor, expected), name).toBeLessThanOrEqual(2e-5 * Math.max(size, 1e-2));
    }
  });

  it("are merged as PEFT merges them", async () => {
    const checkpoint = await folder.checkpoint("");
    const merging = new Merging(lora, adapters);
    for (const [name, expected] of golden) {
      const key = /^merged (.*)$/.exec(name)?.[1];
      if (key === undefined) continue;
      const merged = await merging.merge(key, await checkpoint.read(key));
      expect(maxDifference(merged, expected), key).toBeLessThanOrEqual(1e-6);
    }
    await merging.release();
  });

  it("are written under PEFT's names", () => {
    expect([...adapters.keys()].map(peftKey).sort()).toEqual([...saved.keys()].sort());
    const layout = adapterLayout(lora, json);
    const shapes = (of: Iterable<readonly [string, { dims: readonly number[] }]>) =>
      Object.fromEntries([...of].map(([key, { dims }]) => [key, [...dims]]));
    expect(shapes(layout.map((one) => [peftKey(one.key), one]))).toEqual(shapes(saved));
    const config = adapterConfig(lora, savedConfig.base_model_name_or_path) as Record<string, unknown>;
    const { target_modules, ...rest } = config;
    expect(savedConfig).toMatchObject(rest);
    expect([...(target_modules as string[])].sort()).toEqual([...savedConfig.target_modules].sort());
  });

  it("start without a say, and refuse targets that are not there", () => {
    const start = adapterLayout(lora, json).filter(({ key }) => key.includes("lora_B"));
    expect(start.every(({ start }) => start.kind === "constant" && start.value === 0)).toBe(true);
    const refused = () => adapterLayout({ ...lora, targets: ["w_pack"] }, json);
    expect(refused).toThrow(/no linear layer is called "w_pack" \(/);
    try {
      refused();
    } catch (error) {
      expect((error as DiffsightError).code).toBe("LORA");
    }
  });
});
