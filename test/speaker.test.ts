/** @file Teaching a language model to speak of pictures: texts, projector and fusion, all together; then it is asked. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Store } from "../src/data/index.js";
import { example, World } from "../src/diorama/index.js";
import { constant, input, linear } from "../src/graph/index.js";
import { Tensor } from "../src/tensor/index.js";
import {
  builtIn,
  isTraining,
  parseRecipe,
  planStages,
  readWeights,
  runRecipe,
} from "../src/training/index.js";
import { VisionLanguageModel } from "../src/vlm/index.js";
import { evaluate } from "./reference/evaluate.js";

const model = fileURLToPath(new URL("../assets/micro/sd", import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "diffsight-speaker-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const data = (name: string, producer: string, config: object, pictures?: string) => ({
  name,
  kind: "data",
  producer,
  config,
  ...(pictures && { data: { pictures } }),
});

const diffusion = { encoder: "diffusion", model, taps: ["U-L1-R1-B0-Cross-Q"] };
const asked = { ...diffusion, prompt: "question", guidance: 1 };

const settings = {
  batch: 8,
  parts: 2,
  optimizer: { lr: 5e-3 },
  schedule: { kind: "cosine", warmup: 4 },
  validation: { every: 20, batches: 1 },
};

const network = {
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: 128,
  tie_word_embeddings: true,
};

const recipe = {
  name: "speaker",
  description: "A small one.",
  stages: [
    data("scenes", "scenes", { count: 48, split: "train" }),
    data("scenes-validation", "scenes", { count: 32, split: "validation" }),
    ...["", "-validation"].flatMap((split) => [
      data(`sd${split}`, "features", diffusion, `scenes${split}`),
      data(`sd-question${split}`, "features", asked, `scenes${split}`),
    ]),
    {
      name: "texts",
      kind: "train",
      task: "speaker",
      config: { network, length: 40, captions: 0.5 },
      data: { train: "scenes", validation: "scenes-validation" },
      steps: 40,
      ...settings,
      seed: 1,
    },
    {
      name: "speaker",
      kind: "train",
      task: "speaker",
      config: {
        network,
        length: 40,
        sight: {
          encoders: { sd: { kind: "diffusion", model, fit: "squash" } },
          projector: "mlp2x_gelu",
          language: { model: "./llm" },
        },
        streams: { sd: { tokens: 64, width: 64, grid: [8, 8] } },
      },
      data: {
        train: "scenes",
        validation: "scenes-validation",
        sd: "sd",
        "sd-validation": "sd-validation",
        "sd-question": "sd-question",
        "sd-question-validation": "sd-question-validation",
      },
      init: [{ from: "texts", keys: "language.*" }],
      steps: 40,
      ...settings,
      seed: 2,
    },
    {
      name: "vlm",
      kind: "export",
      from: ["speaker"],
      layout: "model",
      title: "Speaker",
      description: "It speaks.",
    },
  ],
};

describe("a speaker", () => {
  it("learns texts, then pictures, and is asked", async () => {
    const losses: Record<string, number[]> = {};
    const summaries = await runRecipe(parseRecipe(JSON.stringify(recipe)), {
      out: folder,
      threads: 1,
      onEvent: (event) => {
        if (event.kind === "step") (losses[event.name] ??= []).push(event.loss);
      },
    });
    const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
    for (const name of ["texts", "speaker"]) {
      const all = losses[name]!;
      expect(all).toHaveLength(40);
      expect(mean(all.slice(-5))).toBeLessThan(0.7 * mean(all.slice(0, 5)));
    }
    // What was read of texts alone is not lost.
    expect(losses.speaker![0]).toBeLessThan(losses.texts![0]!);

    const place = path.join(folder, "models", "vlm");
    expect(summaries.at(-1)!.name).toBe("vlm");
    await using speaker = await VisionLanguageModel.fromPretrained(place);
    const { rendering, questions } = example(await World.open(), 0, { split: "test" });
    const image = { data: rendering.rgb, width: 64, height: 64, channels: 3 as const };
    const [{ question, options }] = questions as [(typeof questions)[0]];
    const answer = speaker.ask(image, `${question} ${options.join(" or ")}?`, {
      maxTokens: 4,
      ignoreEos: true,
    });
    await answer.whole();
    expect(answer.ids).toHaveLength(4);
  }, 600_000);

  it("measures what whitens on the data, and learns no other numbers in its place", async () => {
    const speaker = recipe.stages.find(({ name }) => name === "speaker") as { config: { sight: object } };
    const nothing = { text: "none" };
    const conditioning = { stage1: nothing, stage2: nothing, inference: nothing };
    const whitened = {
      ...speaker,
      steps: 2,
      schedule: {},
      config: {
        ...speaker.config,
        sight: {
          ...speaker.config.sight,
          encoders: { sd: { kind: "diffusion", model, fit: "squash", conditioning } },
          fusion: { type: "none", encoder: "sd", normalisation: "whitening" },
        },
      },
    };
    const stages = recipe.stages.map((stage) => (stage === speaker ? whitened : stage));
    const parsed = parseRecipe(JSON.stringify({ ...recipe, name: "whitened", stages }));
    await runRecipe(parsed, { out: folder, threads: 1 });
    const plan = await planStages(parsed, folder, builtIn);
    const planned = (name: string) => plan.find(({ stage }) => stage.name === name)!;
    const taught = planned("speaker");
    if (!isTraining(taught)) throw new Error("The speaker is trained.");
    const weights = await readWeights(taught);
    const key = "fusion.normalisation.sd.whitening";
    const [weight, bias] = [weights.get(`${key}.weight`)!, weights.get(`${key}.bias`)!];
    const store = Store.open(planned("sd").folder);
    const all = store
      .gather(
        "features",
        Array.from({ length: 48 }, (_, row) => row),
      )
      .toFloat32();
    store.close();
    const rows = 48 * 64;
    let variance = 0;
    for (let i = 0; i < 64; i++) {
      const channel = Array.from({ length: rows }, (_, row) => all[row * 64 + i]!);
      const mean = channel.reduce((total, x) => total + x, 0) / rows;
      variance += channel.reduce((total, x) => total + (x - mean) ** 2, 0) / (rows - 1) / 64;
    }
    // All pictures were measured: W C Wᵀ is 1 less the shrinkage, a thousandth of the mean variance times W Wᵀ.
    const white = linear(input("x", [rows, 64]), constant(weight), constant(bias));
    const { data } = evaluate({ white }, { x: Tensor.f32([rows, 64], all) }).white!;
    const w = weight.toFloat32();
    for (let i = 0; i < 64; i++)
      for (let j = 0; j <= i; j++) {
        let product = 0;
        for (let row = 0; row < rows; row++)
          product += (data[row * 64 + i]! * data[row * 64 + j]!) / (rows - 1);
        for (let k = 0; k < 64; k++) product += 1e-3 * variance * w[i * 64 + k]! * w[j * 64 + k]!;
        expect(Math.abs(product - Number(i === j))).toBeLessThan(2e-3);
      }
  }, 600_000);
});
