/** @file CLIP's text encoders against transformers, once per preset. */

import { afterAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { input, type Value } from "../src/graph/index.js";
import { clipText, pooledIndex, readClipTextConfig } from "../src/models/index.js";
import { Tensor } from "../src/tensor/index.js";
import { type Checkpoint, openModel, Scope } from "../src/weights/index.js";
import { expectClose, Golden, type GoldenCase, goldenPath } from "./golden.js";
import { algorithms } from "./kernels.js";

async function opened(folder: string) {
  const model = await openModel(goldenPath(folder));
  return {
    config: readClipTextConfig(await model.json("config.json")),
    checkpoint: await model.checkpoint(""),
  };
}

/** A case's outputs in transformers' names, and what to feed. */
function written(
  golden: Golden,
  one: GoldenCase,
  { config, checkpoint }: Awaited<ReturnType<typeof opened>>,
) {
  const ids = golden.input(one, "input_ids");
  const ends = (ids.toArray() as number[][]).map((row) => pooledIndex(row, config));
  const feeds = { ids, ends: Tensor.i64([ends.length], ends) };
  const states = clipText(
    Scope.of(checkpoint),
    config,
    input("ids", ids.dims, "i64"),
    input("ends", feeds.ends.dims, "i64"),
  );
  const outputs: Record<string, Value | undefined> = {
    last_hidden_state: states.lastHiddenState,
    pooler_output: states.pooled,
    text_embeds: states.textEmbeds,
    "hidden_states.-2": states.hiddenStates.at(-2),
  };
  states.hiddenStates.forEach((state, i) => {
    outputs[`hidden_states.${i}`] = state;
  });
  const wanted = Object.fromEntries(Object.keys(one.outputs).map((name) => [name, outputs[name]!]));
  const inputs = "pooler_output" in wanted || "text_embeds" in wanted ? feeds : { ids };
  return { outputs: wanted, feeds: inputs };
}

const cases = ["clip-text-sd21", "clip-text-sd15", "clip-text-projection"].flatMap((folder) => {
  const golden = new Golden(folder);
  return golden.cases.map((one) => {
    const checkpoint: string | undefined = one.args.checkpoint;
    return { name: one.name, golden, one, folder: checkpoint ? `${folder}/${checkpoint}` : folder };
  });
});

const engines = new Map<string, Promise<Engine>>();
afterAll(async () => {
  for (const engine of engines.values()) await (await engine).dispose();
});

async function expectGolden(
  { name, options, times }: (typeof algorithms)[number],
  golden: Golden,
  one: GoldenCase,
  model: Awaited<ReturnType<typeof opened>>,
) {
  const { outputs, feeds } = written(golden, one, model);
  if (!engines.has(name)) engines.set(name, Engine.open({ device: "cpu", ...options }));
  const program = (await engines.get(name)!).compile(outputs);
  const results = await program.run(feeds);
  await program.release();
  for (const [output, entry] of Object.entries(one.outputs)) {
    expectClose(results[output]!, golden.output(one, output), entry.atol!, output, times);
  }
}

describe.each(algorithms)("CLIP text with $name", (algorithm) => {
  it.each(cases)("$folder $name: states and vectors equal transformers'", async ({ folder, golden, one }) => {
    await expectGolden(algorithm, golden, one, await opened(folder));
  });
});

describe("a checkpoint", () => {
  it("may leave out the prefix text_model", async () => {
    const { golden, one, folder } = cases.find((entry) => entry.folder === "clip-text-projection/eos-mid")!;
    const { config, checkpoint } = await opened(folder);
    const bare: Checkpoint = {
      ...checkpoint,
      entries: new Map(
        [...checkpoint.entries].map(([key, entry]) => [key.replace(/^text_model\./, ""), entry]),
      ),
    };
    await expectGolden(algorithms[0]!, golden, one, { config, checkpoint: bare });
  });

  it("without a projection, or a text without its end, gives no vector", async () => {
    const { config, checkpoint } = await opened("clip-text-sd21");
    const w = Scope.of(checkpoint);
    const ids = input("ids", [1, 9], "i64");
    expect(clipText(w, config, ids)).toMatchObject({ pooled: undefined, textEmbeds: undefined });
    expect(clipText(w, config, ids, input("end", [1], "i64")).textEmbeds).toBeUndefined();
  });

  it("that is not of the config's sizes is refused", async () => {
    const { config, checkpoint } = await opened("clip-text-projection/eos-real");
    const w = Scope.of(checkpoint);
    const write = (changed: Partial<typeof config>) => () =>
      clipText(w, { ...config, ...changed }, input("ids", [1, 9], "i64"), input("end", [1], "i64"));
    expect(write({ maxPositions: 50 })).toThrow(
      /position_embedding\.weight" is \[77, 32\], the config asks for \[50, 32\]/,
    );
    expect(write({ projectionDim: 32 })).toThrow(/text_projection\.weight" is \[24, 32\]/);
  });
});

describe("a text", () => {
  const config = readClipTextConfig({});

  it("longer than the positions is refused", async () => {
    const model = await opened("clip-text-sd15");
    const ids = input("ids", [1, 78], "i64");
    expect(() => clipText(Scope.of(model.checkpoint), model.config, ids)).toThrow(
      /78 tokens does not fit.*takes 77/,
    );
  });

  it("ends at the first eos_token_id", () => {
    expect(pooledIndex([7, 9, 3, 5, 3], { ...config, eosTokenId: 3 })).toBe(2);
  });

  it("ends at the first of the largest ids where eos_token_id is 2", () => {
    expect(pooledIndex([7, 2, 9, 5, 9], { ...config, eosTokenId: 2 })).toBe(2);
  });

  it("without an end is refused", () => {
    expect(() => pooledIndex([7, 9], { ...config, eosTokenId: 3 })).toThrow(/eos_token_id 3/);
  });
});

describe("configs of CLIP text encoders", () => {
  it("have transformers' defaults where the file is silent", () => {
    expect(readClipTextConfig({ layer_norm_eps: null })).toEqual({
      vocabSize: 49408,
      hiddenSize: 512,
      intermediateSize: 2048,
      projectionDim: 512,
      layers: 12,
      heads: 8,
      maxPositions: 77,
      activation: "quick_gelu",
      eps: 1e-5,
      eosTokenId: 49407,
    });
  });

  it.each([
    [{ model_type: "clip" }, /model_type: "clip" is not supported/],
    [{ hidden_act: "mish" }, /hidden_act/],
    [{ num_attention_heads: 7 }, /hidden_size 512 does not divide into num_attention_heads 7/],
    [{ eos_token_id: [2, 3] }, /eos_token_id/],
  ])("that cannot be run are refused by the field's name: %j", (json, message) => {
    expect(() => readClipTextConfig(json)).toThrow(message);
  });
});
