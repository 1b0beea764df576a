/** @file LLaMA and Qwen2 against transformers: whole sequences, what is remembered, losses and gradients. */

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import {
  constant,
  gradients,
  input,
  isOp,
  reshape,
  slice,
  topologicalOrder,
  trainingKernels,
  type Value,
} from "../src/graph/index.js";
import {
  initialise,
  type LlamaConfig,
  llama,
  llamaEmbeddings,
  llamaLayout,
  llamaLogits,
  longestSequence,
  parameterCount,
  readLanguageConfig,
  readLlamaConfig,
  readMistralConfig,
  readQwen2Config,
  readRope,
  rotaryTables,
} from "../src/models/index.js";
import { Tensor, TorchGenerator } from "../src/tensor/index.js";
import { languageLoss } from "../src/training/losses.js";
import { openModel, Scope } from "../src/weights/index.js";
import { expectClose, Golden, type GoldenCase, goldenPath, maxDifference } from "./golden.js";

const folders = ["llama", "llama-gqa", "qwen2"];

let engine: Engine;
let trainer: Engine;
beforeAll(async () => {
  engine = await Engine.open({ device: "cpu", memory: "mmap" });
  trainer = await Engine.open({ device: "cpu", memory: "fast", threads: 1, kernels: trainingKernels });
});
afterAll(async () => {
  await engine.dispose();
  await trainer.dispose();
});

async function opened(folder: string): Promise<{ w: Scope; config: LlamaConfig }> {
  const model = await openModel(goldenPath(folder));
  return {
    w: Scope.of(await model.checkpoint("")),
    config: readLanguageConfig(await model.json("config.json")),
  };
}

/** The network over whole sequences [B, T] of a case's ids or embeddings. */
function written({ w, config }: Awaited<ReturnType<typeof opened>>, golden: Golden, one: GoldenCase) {
  const { input_ids: ids, inputs_embeds: embeds } = one.inputs;
  const feeds: Record<string, Tensor> = {};
  const feed = (name: string, tensor: Tensor) => {
    feeds[name] = tensor;
    return input(name, tensor.dims, tensor.dtype);
  };
  const given = ids ? feed("ids", golden.tensor(ids)) : feed("embeds", golden.tensor(embeds!));
  const [, length] = given.dims as [number, number];
  const tables = rotaryTables(config.rope, [...Array(length).keys()]);
  const x = ids ? llamaEmbeddings(w, given) : given;
  const states = llama(w, config, { embeds: x, cos: constant(tables.cos), sin: constant(tables.sin) });
  return { states, logits: llamaLogits(w, config, states.lastHiddenState), embeds: x, feeds, feed };
}

describe.each(folders)("%s", (folder) => {
  const golden = new Golden(folder);

  it("gives transformers' logits, states, keys and values of texts of two lengths", async () => {
    const model = await opened(folder);
    const one = golden.case("prefill-right-padded");
    const { states, logits, feeds } = written(model, golden, one);
    const row = (value: Value, i: number) => {
      const found = slice(slice(value, 0, i, i + 1), 1, 0, one.args.lengths[i]);
      return reshape(found, found.dims.slice(1));
    };
    const named = (name: string): Value => {
      const [kind, ...rest] = name.split(".") as [string, ...string[]];
      const text = Number(rest.at(-1));
      if (kind === "logits") return row(logits, text);
      if (kind === "last_hidden_state") return row(states.lastHiddenState, text);
      return row(states.cache[Number(rest[0]!.slice(5))]![kind as "keys" | "values"], text);
    };
    const wanted = Object.fromEntries(Object.keys(one.outputs).map((name) => [name, named(name)]));
    const results = await engine.compile(wanted).run(feeds);
    for (const [name, { atol }] of Object.entries(one.outputs)) {
      const found = results[name]!;
      const expected = golden.output(one, name);
      // transformers keeps the heads first.
      const actual = found.dims.length === 3 ? headsFirst(found) : found;
      expectClose(actual, expected, atol!, name);
    }
  });

  it("reads embeddings in place of tokens", async () => {
    const one = golden.case("inputs-embeds");
    const { logits, feeds } = written(await opened(folder), golden, one);
    const { y } = await engine.compile({ y: logits }).run(feeds);
    expectClose(y!, golden.output(one, "logits"), one.outputs.logits!.atol!);
  });

  it.each(golden.cases.filter(({ name }) => name.startsWith("train")))(
    "$name: learns as in transformers",
    async (one) => {
      const { logits, embeds, feeds, feed } = written(await opened(folder), golden, one);
      const { labels, weights } = shifted(golden.input(one, "labels"));
      const loss = languageLoss(logits, feed("labels", labels), feed("weights", weights));

      const sources = one.inputs.inputs_embeds
        ? new Map([["inputs_embeds", embeds]])
        : new Map(
            topologicalOrder([loss]).flatMap((value) =>
              isOp(value, "parameter") ? [[value.attributes.key, value as Value] as const] : [],
            ),
          );
      const slopes = gradients(loss, [...sources.values()]);
      const outputs: Record<string, Value> = { loss: reshape(loss, [1]) };
      [...sources.keys()].forEach((key, i) => {
        outputs[`grad.${key}`] = slopes[i]!;
      });
      expect(Object.keys(outputs).sort()).toEqual(Object.keys(one.outputs).sort());
      for (const computes of [engine, trainer]) {
        const results = await computes.compile(outputs).run(feeds);
        for (const [name, { atol }] of Object.entries(one.outputs)) {
          expectClose(results[name]!, golden.output(one, name), atol!, name);
        }
      }
    },
  );
});

/** [T, heads, d] -> [heads, T, d] */
function headsFirst({ dims, data }: Tensor): Tensor {
  const [length, heads, width] = dims as [number, number, number];
  const moved = (data as Float32Array).map((_, at) => {
    const [head, token, d] = [Math.floor(at / (length * width)), Math.floor(at / width) % length, at % width];
    return data[(token * heads + head) * width + d] as number;
  });
  return Tensor.f32([heads, length, width], moved);
}

/** Each place's next token, and whether it counts: -100 does not, and after the last there is none. */
function shifted(labels: Tensor): { labels: Tensor; weights: Tensor } {
  const [, length] = labels.dims as [number, number];
  const next = Array.from({ length: labels.size }, (_, i) =>
    (i + 1) % length === 0 ? -100 : Number(labels.data[i + 1]),
  );
  return {
    labels: Tensor.i64(
      labels.dims,
      next.map((one) => Math.max(one, 0)),
    ),
    weights: Tensor.f32(
      labels.dims,
      next.map((one) => Number(one !== -100)),
    ),
  };
}

describe("rotary positions", () => {
  const cases: {
    name: string;
    config: Record<string, unknown>;
    length: number;
    cos: number[][];
    sin: number[][];
  }[] = ["rope.json", "rope-more.json"].flatMap((file) =>
    JSON.parse(readFileSync(goldenPath("llama", file), "utf8")),
  );
  it.each(cases)("$name: transformers' cosines and sines", ({ config, length, cos, sin }) => {
    const rope = readRope(config, { headDim: 8, maxPositions: 64 });
    const positions = [0, 1, 2, 17, length - 1];
    const tables = rotaryTables(rope, positions);
    const flat = (rows: number[][]) => Tensor.f32([positions.length, 4], rows.flat());
    expect(maxDifference(tables.cos, flat(cos))).toBeLessThan(2e-5);
    expect(maxDifference(tables.sin, flat(sin))).toBeLessThan(2e-5);
  });

  it.each([
    [{}, 64],
    [{ rope_scaling: { type: "linear", factor: 4 } }, 256],
    [{ rope_scaling: { type: "dynamic", factor: 2 } }, Number.POSITIVE_INFINITY],
    [{ rope_scaling: { type: "yarn", factor: 4, original_max_position_embeddings: 64 } }, 256],
    [{ rope_scaling: { type: "yarn", factor: 4, original_max_position_embeddings: 16 } }, 64],
    [
      {
        rope_scaling: { type: "longrope", factor: 4, short_factor: [1, 1, 1, 1], long_factor: [1, 1, 1, 1] },
      },
      256,
    ],
  ])("reach with %j as far as %d tokens", (config, tokens) => {
    expect(longestSequence(readRope(config, { headDim: 8, maxPositions: 64 }))).toBe(tokens);
  });

  it("are read as transformers reads them where they are told twice", () => {
    const read = (json: object) => readRope(json, { headDim: 8, maxPositions: 64 });
    expect(
      read({ rope_scaling: { type: "linear", factor: 2, rope_theta: 300 }, rope_theta: 500 }).theta,
    ).toBe(300);
    const rope_parameters = { rope_type: "default", rope_theta: 300 };
    const { theta, scaling } = read({ rope_scaling: { type: "linear", factor: 2 }, rope_parameters });
    expect([theta, scaling.rope_type]).toEqual([10000, "linear"]);
    expect(read({ rope_scaling: {}, rope_parameters }).theta).toBe(300);
    const truncate = (said: object) =>
      read({ rope_scaling: { type: "yarn", factor: 2, ...said } }).scaling.truncate;
    expect([truncate({}), truncate({ truncate: null })]).toEqual([true, null]);
  });

  it.each([
    [{ rope_scaling: { rope_type: "proportional", factor: 2 } }, "rope_type"],
    [
      { rope_scaling: { rope_type: "longrope", short_factor: [1, 2], long_factor: [1, 2] } },
      "short_factor has 2",
    ],
    [{ rope_scaling: { type: "linear" } }, "factor"],
    [{ rope_parameters: { rope_type: "default", partial_rotary_factor: 0.5 } }, "partial_rotary_factor"],
  ])("refuse %j by name", (config, field) => {
    expect(() => readRope(config, { headDim: 8, maxPositions: 64 })).toThrow(field);
  });
});

describe("configs", () => {
  it.each([
    [readQwen2Config, { model_type: "qwen2", use_sliding_window: true }, "use_sliding_window"],
    [
      readQwen2Config,
      { model_type: "qwen2", use_sliding_window: true, max_window_layers: 31 },
      "from layer 31 of 32 on",
    ],
    [
      readQwen2Config,
      { model_type: "qwen2", use_sliding_window: true, max_window_layers: null },
      "from layer 0 of 32 on",
    ],
    [readQwen2Config, { model_type: "qwen2", layer_types: ["sliding_attention"] }, "layer_types"],
    [readQwen2Config, { model_type: "llama" }, "model_type"],
    [
      readMistralConfig,
      { model_type: "mistral", rope_scaling: { type: "linear", factor: 2 } },
      "sliding_window 4096",
    ],
    [
      readMistralConfig,
      { model_type: "mistral", max_position_embeddings: 4096, rope_scaling: { type: "linear", factor: 2 } },
      "sliding_window 4096",
    ],
    [readLlamaConfig, { hidden_size: 30, num_attention_heads: 4 }, "hidden_size 30"],
    [readLlamaConfig, { num_attention_heads: 4, num_key_value_heads: 3 }, "num_key_value_heads 3"],
    [readLlamaConfig, { hidden_act: "mish" }, "hidden_act"],
    [readLanguageConfig, { model_type: "gpt2" }, '"gpt2" is not supported (only llama, mistral, qwen2)'],
  ])("%o refuses %j", (read, json, words) => {
    expect(() => read(json)).toThrow(words);
  });
});

describe("what configs leave out", () => {
  it.each([
    [{}, [2]],
    [{ eos_token_id: null }, []],
    [{ eos_token_id: [5, 6] }, [5, 6]],
    [{ model_type: "mistral" }, [2]],
    [{ model_type: "qwen2" }, []],
  ])("%j ends texts by %j", (json, ends) => {
    expect(readLanguageConfig(json).eosTokenIds).toEqual(ends);
  });

  it("is as transformers has it", () => {
    const mistral = readMistralConfig({ model_type: "mistral" });
    expect([mistral.kvHeads, mistral.intermediateSize, mistral.rope.maxPositions]).toEqual([8, 14336, 4096]);
    expect(readMistralConfig({ model_type: "mistral", sliding_window: null }).rope.maxPositions).toBe(131072);
    expect(readQwen2Config({ model_type: "qwen2" }).kvHeads).toBe(32);
    const windows = { model_type: "qwen2", use_sliding_window: true };
    expect(readQwen2Config({ ...windows, max_window_layers: 32 }).layers).toBe(32);
    expect(readQwen2Config({ ...windows, sliding_window: null }).layers).toBe(32);
    const off = { ...windows, use_sliding_window: false, sliding_window: 0, max_window_layers: null };
    expect(readQwen2Config(off).layers).toBe(32);
    const heads = { model_type: "qwen2", num_attention_heads: 16, num_key_value_heads: null };
    expect(readQwen2Config(heads).kvHeads).toBe(16);
  });
});

describe("a layout", () => {
  it.each(folders)("has exactly the keys, shapes and order of %s", async (folder) => {
    const model = await openModel(goldenPath(folder));
    const { entries } = await model.checkpoint("");
    const planned = llamaLayout(await model.json("config.json")).map(({ key, dims }) => `${key} ${dims}`);
    expect(planned).toEqual([...entries].map(([key, { dims }]) => `${key} ${dims}`));
  });

  it.each([
    ["LLaMA 7B", {}, 6_738_415_616],
    [
      "Qwen2 0.5B",
      {
        model_type: "qwen2",
        hidden_size: 896,
        intermediate_size: 4864,
        num_hidden_layers: 24,
        num_attention_heads: 14,
        num_key_value_heads: 2,
        tie_word_embeddings: true,
      },
      494_032_768,
    ],
  ])("counts %s as published", (_, json, parameters) => {
    expect(parameterCount(llamaLayout(json))).toBe(parameters);
  });

  it("starts with the config's deviation, biases at 0 and norms at 1", () => {
    const json = {
      model_type: "qwen2",
      vocab_size: 500,
      hidden_size: 64,
      intermediate_size: 128,
      num_hidden_layers: 1,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      initializer_range: 0.05,
    };
    const tensors = initialise(llamaLayout(json), new TorchGenerator(3));
    const deviation = (key: string) => {
      const data = tensors.get(key)!.toFloat32();
      return Math.sqrt(data.reduce((sum, one) => sum + one * one, 0) / data.length);
    };
    expect(deviation("model.embed_tokens.weight")).toBeCloseTo(0.05, 3);
    expect(deviation("model.layers.0.mlp.down_proj.weight")).toBeCloseTo(0.05, 2);
    expect(deviation("model.layers.0.self_attn.q_proj.bias")).toBe(0);
    expect(new Set(tensors.get("model.norm.weight")!.toFloat32())).toEqual(new Set([1]));
    expect(tensors.has("model.layers.0.self_attn.o_proj.bias")).toBe(false);
  });
});
