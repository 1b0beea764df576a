/** @file Teaching language models of users to see: LLaVA's JSON, frozen weights in place, adapters, features either way. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashBytes, Store } from "../src/data/index.js";
import { decodeSafetensors, type Tensor } from "../src/tensor/index.js";
import {
  bytesOf,
  estimateStage,
  parseRecipe,
  planStages,
  type RecipeEvent,
  randomAt,
  readWeights,
  runRecipe,
  settingsSchema,
  train,
} from "../src/training/index.js";
import { builtIn } from "../src/training/registry.js";
import { openExamples } from "../src/training/speaker/batches.js";
import { readModels, type SpeakerTraining, speakerConfig } from "../src/training/speaker/config.js";
import { isTraining } from "../src/training/stages.js";
import { planTraining, StepProgram } from "../src/training/step-program.js";
import { flatten, unflatten } from "../src/training/weights.js";
import { VisionLanguageModel } from "../src/vlm/index.js";
import { expectClose, goldenPath } from "./golden.js";
import { golden, task as goldenTask, one } from "./training/golden-speaker-task.js";
import { clip, sd, writeConversations, writeLanguageModel } from "./training/small-vlm.js";

let folder = "";
const inside = (...parts: string[]) => path.join(folder, ...parts);
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "diffsight-vlm-training-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("stage 1", () => {
  it("has torch's losses, gradients and weights, in front of a language model that stays in its file", async () => {
    const language = goldenPath("projector-train", "llm");
    const sight = {
      encoders: { clip: { kind: "vision", model: clip } },
      projector: "mlp2x_gelu",
      language: { model: language },
    };
    const config = await readModels(
      speakerConfig.parse({
        sight,
        streams: { clip: { tokens: one.args.image_tokens, width: 20 } },
        length: 8,
        phase: "stage1",
      }),
    );
    const settings = settingsSchema.parse({
      steps: one.args.total_steps,
      batch: 2,
      optimizer: { lr: one.args.lr, weightDecay: 0, clip: 1 },
      schedule: { kind: "cosine", warmup: one.args.warmup_steps },
    });
    const keys = ["0.weight", "0.bias", "2.weight", "2.bias"];
    const initial = new Map(
      keys.map((key) => [`model.mm_projector.${key}`, golden.input(one, `init.${key}`)]),
    );
    const base = await goldenTask.base!(config);
    const gradients = await gradientsOf({ config, settings, initial, base });
    for (const key of keys) expectGolden(gradients.get(`model.mm_projector.${key}`)!, `grad-step0.${key}`);
    const steps: { loss: number; norm: number }[] = [];
    const { weights } = await train({
      name: "golden",
      module: new URL("./training/golden-speaker-task.ts", import.meta.url).href,
      task: goldenTask,
      config,
      data: {},
      settings,
      initial,
      base,
      key: "golden",
      folder: inside("golden"),
      threads: 1,
      onStep: (step) => steps.push(step),
    });
    // Nothing but the projector is trained, or kept.
    expect([...weights.keys()].sort()).toEqual(keys.map((key) => `model.mm_projector.${key}`).sort());
    for (const key of keys) expectGolden(weights.get(`model.mm_projector.${key}`)!, `final.${key}`);
    const within = (name: string, actual: number[]) => {
      const expected = golden.output(one, name).toFloat32();
      for (const [i, value] of actual.entries())
        expect(Math.abs(value - expected[i]!), `${name}[${i}]`).toBeLessThanOrEqual(one.outputs[name]!.atol!);
    };
    within(
      "losses",
      steps.map(({ loss }) => loss),
    );
    within(
      "grad_norms",
      steps.map(({ norm }) => norm),
    );
  }, 300_000);
});

/** Of the first step, before they are clipped. */
async function gradientsOf(
  parts: Omit<Parameters<typeof StepProgram.open<SpeakerTraining>>[1], "examples">,
): Promise<Map<string, Tensor>> {
  const { config, settings, initial, base } = parts;
  const { layout } = planTraining(goldenTask, config, settings, initial, base);
  const examples = await goldenTask.open({ config, data: {}, seed: 0 });
  const program = await StepProgram.open(goldenTask, { ...parts, examples });
  try {
    flatten(layout, initial, program.weights);
    await program.train(0, 0);
    return unflatten(layout, program.gradients, initial);
  } finally {
    await program.dispose();
  }
}

function expectGolden(actual: Tensor, name: string): void {
  expectClose(actual, golden.output(one, name), one.outputs[name]!.atol!);
}

/** A recipe over the folder's conversations; `stages` come after the data. */
const recipeOf = (...stages: object[]) =>
  parseRecipe(
    JSON.stringify({
      name: "mine",
      stages: [
        {
          name: "talks",
          kind: "data",
          producer: "conversations",
          config: { file: inside("conversations.json"), images: inside("images"), faulty: "skip" },
        },
        ...stages,
      ],
    }),
  );

const described = (file: string, name: string, prompt: string) => ({
  kind: "data",
  producer: "features",
  config: { encoder: "described", as: { file, name }, prompt },
  data: { pictures: "talks" },
});

describe("a language model and pictures of one's own", () => {
  const description = () => inside("diffsight.json");
  const stage1 = () => ({
    name: "stage1",
    kind: "train",
    task: "speaker",
    like: "llava-stage1",
    config: { sight: description(), phase: "stage1", length: 48 },
    data: { train: "talks", clip: "clip", sd: "sd" },
    batch: 2,
    parts: 2,
  });
  const stages = () => [
    { name: "clip", ...described(description(), "clip", "none") },
    { name: "sd", ...described(description(), "sd", "none") },
    stage1(),
    {
      name: "stage2",
      kind: "train",
      task: "speaker",
      like: "llava-lora",
      config: { sight: description(), length: 224, lora: { r: 2, alpha: 4, dropout: 0.2 } },
      data: { train: "talks" },
      init: [{ from: "stage1" }],
      steps: 3,
      batch: 2,
      parts: 2,
      checkpoint: 1,
    },
    {
      name: "vlm",
      kind: "export",
      from: ["stage2"],
      layout: "model",
      dtype: "f32",
      title: "Mine",
    },
  ];

  beforeAll(() => {
    writeConversations(folder);
    writeLanguageModel(inside("llama"));
    const encoders = {
      clip: { kind: "vision", model: clip, tokens: "all" },
      sd: {
        kind: "diffusion",
        model: sd,
        conditioning: { stage2: { text: "random-question", dropout: 0.3 } },
      },
    };
    const fusion = { type: "class-token", classToken: "clip", diffusion: ["sd"], hidden: 8, dropout: 0.3 };
    writeFileSync(description(), JSON.stringify({ encoders, fusion, language: { model: "./llama" } }));
  });

  it("learns in two stages, names what it leaves out, is cut off, goes on, and answers", async () => {
    const events: RecipeEvent[] = [];
    const onEvent = (event: RecipeEvent) => events.push(event);
    const recipe = recipeOf(...stages());
    const out = inside("run");
    const abort = new AbortController();
    const cut = runRecipe(recipe, {
      out,
      threads: 1,
      signal: abort.signal,
      onEvent: (event) => {
        onEvent(event);
        if (event.kind === "step" && event.name === "stage2" && event.step === 1) abort.abort();
      },
    });
    await expect(cut).rejects.toMatchObject({ code: "ABORTED" });
    const summaries = await runRecipe(recipe, { out, threads: 2, onEvent });
    // What cannot be used is named; the fusion's own warnings are told
    const notices = events.flatMap((event) => (event.kind === "notice" ? [event.message] : []));
    expect(notices.join("\n")).toMatch(/Row 3 of .*: image: there is no file .*missing\.png/);
    expect(notices.join("\n")).toMatch(/Row 4 of .*broken\.png/);
    expect(notices.join("\n")).toMatch(/stage1: A batch of 2 is small for stage 1/);
    // Stage 1's epoch: four usable rows in batches of two
    const [first, second] = ["stage1", "stage2"].map((name) => summaries.find((one) => one.name === name)!);
    expect(first!.result).toMatchObject({ steps: 2 });
    // Another run, which nothing cuts off, ends with the same bits, dropout and all
    const whole = await runRecipe(recipe, { out: inside("whole"), threads: 1 });
    expect(whole.find(({ name }) => name === "stage2")!.result!.weights).toBe(second!.result!.weights);

    // Adapters alone have learnt beside what sees
    const planned = (await planStages(recipe, out, builtIn)).filter(isTraining);
    const weights = await readWeights(planned[1]!);
    const adapters = [...weights.keys()].filter((key) => key.startsWith("language."));
    expect(adapters.every((key) => /lora_[AB]\.weight$/.test(key))).toBe(true);
    expect(adapters).toHaveLength(2 * 7 * 2);

    const place = inside("run", "models", "vlm");
    for (const file of [
      "diffsight.json",
      "adapter/adapter_config.json",
      "llm/tokenizer.json",
      "llm/config.json",
    ])
      expect(existsSync(path.join(place, file)), file).toBe(true);
    const key = "model.layers.1.mlp.down_proj";
    const read = (file: string) => decodeSafetensors(readFileSync(file)).tensors;
    const before = read(inside("llama", "model.safetensors")).get(`${key}.weight`)!.toFloat32();
    const merged = read(path.join(place, "llm", "model.safetensors"))
      .get(`${key}.weight`)!
      .toFloat32();
    const a = weights.get(`language.${key}.lora_A.weight`)!.toFloat32();
    const b = weights.get(`language.${key}.lora_B.weight`)!.toFloat32();
    const inner = 48;
    merged.forEach((value, i) => {
      const [row, column] = [Math.floor(i / inner), i % inner];
      const low = a[column]! * b[2 * row]! + a[inner + column]! * b[2 * row + 1]!;
      expect(Math.abs(value - before[i]! - 2 * low)).toBeLessThan(1e-6);
    });

    await using model = await VisionLanguageModel.fromPretrained(place);
    const answer = model.ask(inside("images", "q.png"), "What is in the picture?", {
      maxTokens: 3,
      ignoreEos: true,
    });
    await answer.whole();
    expect(answer.ids).toHaveLength(3);

    // The plan of what is left, were the last steps not done
    const estimate = await estimateStage(
      (await planStages(recipeOf(...stages()), inside("nowhere"), builtIn))[3]!,
      1,
    );
    expect(estimate.work).toMatch(/^1 epoch of 2 \(speaker\) of .* M parameters$/);
    expect(estimate.memory).toBeGreaterThan(0);
  }, 900_000);

  it("sees the same from stores and on the fly", async () => {
    const recipe = recipeOf(
      { name: "clip", ...described(description(), "clip", "none") },
      { name: "sd", ...described(description(), "sd", "none") },
      { name: "sd-question", ...described(description(), "sd", "question") },
    );
    const out = inside("features");
    await runRecipe(recipe, { out, threads: 1 });
    const folders = Object.fromEntries(
      (await planStages(recipe, out, builtIn)).map(({ stage, folder }) => [stage.name, folder]),
    );
    const config = await readModels(speakerConfig.parse({ sight: description(), length: 224 }));
    const store = (name: string) => Store.open(folders[name]!);
    const bits = async (data: Record<string, Store>) => {
      const examples = await openExamples(config, data);
      const hashes: string[] = [];
      for (const step of [0, 1, 2]) {
        const random = randomAt("train", 0, step, 0);
        const batch = await examples.batch({
          split: "train",
          step,
          part: 0,
          rows: [0, 1, 2, 3],
          random,
          warn() {},
        });
        hashes.push(hashBytes(...Object.entries(batch).flatMap(([name, tensor]) => [name, bytesOf(tensor)])));
      }
      await examples.release!();
      return hashes;
    };
    const train = store("talks");
    const stored = { train, clip: store("clip"), sd: store("sd"), "sd-question": store("sd-question") };
    const hashes = await bits(stored);
    expect(await bits({ train })).toEqual(hashes);
    expect(new Set(hashes).size).toBe(3);
    // A question that no store was told is an error that names the store
    await expect(bits({ train, clip: store("clip"), sd: store("sd") })).rejects.toThrow(
      /no features that were told the question/,
    );
    // A picture that changes while the task learns is named, or left out by choice
    rmSync(inside("images", "r.png"));
    await expect(bits({ train })).rejects.toThrow(/Row 1: .*r\.png cannot be read/);
    const warnings: string[] = [];
    const lenient = await openExamples({ ...config, faulty: "skip" }, { train });
    const request = {
      split: "train",
      step: 0,
      part: 0,
      rows: [1],
      warn: (message: string) => warnings.push(message),
    };
    const batch = await lenient.batch({ ...request, split: "train", random: randomAt("train", 0, 0, 0) });
    expect(warnings.join()).toMatch(/Row 1 \(id "second"\) is left out: .*r\.png cannot be read/);
    expect(batch.weights!.toFloat32().every((weight) => weight === 0)).toBe(true);
    await lenient.release!();
    writeConversations(folder);
  }, 600_000);

  it("needs less memory with gradient checkpointing, and ends with the same bits", async () => {
    const out = inside("checkpointing");
    const trained = async (more: object) => {
      const recipe = recipeOf({ ...stages()[3], init: [], steps: 2, ...more });
      const last = (await planStages(recipe, out, builtIn)).filter(isTraining).at(-1)!;
      const { memory } = await estimateStage(last, 1);
      await runRecipe(recipe, { out, threads: 1 });
      return { memory: memory!, weights: [...(await readWeights(last))] };
    };
    const plain = await trained({});
    const again = await trained({ gradientCheckpointing: true });
    const bits = ({ weights }: typeof plain) =>
      weights.map(([key, tensor]) => [key, hashBytes(bytesOf(tensor))]);
    expect(bits(again)).toEqual(bits(plain));
    expect(plain.weights.length).toBeGreaterThan(8);
    expect(again.memory).toBeLessThan(plain.memory);
  }, 600_000);

  it("gives every token of a batch the same weight, into however many parts it is cut", async () => {
    const sight = { encoders: { clip: { kind: "vision", model: clip } }, language: { model: "./llama" } };
    writeFileSync(inside("clip.json"), JSON.stringify(sight));
    const first = async (parts: number) => {
      const steps: { loss: number; norm: number }[] = [];
      // Answers of one token and of several; none where a text is cut off before its answer.
      const stage = { ...stage1(), config: { ...stage1().config, sight: inside("clip.json"), length: 40 } };
      const once = { data: { train: "talks" }, batch: 4, parts, steps: 1 };
      await runRecipe(recipeOf({ ...stage, ...once }), {
        out: inside("parts"),
        threads: 1,
        onEvent: (event) => event.kind === "step" && steps.push(event),
      });
      return steps[0]!;
    };
    const whole = await first(1);
    for (const parts of [2, 4]) {
      const { loss, norm } = await first(parts);
      expect(Math.abs(loss / whole.loss - 1), `loss of ${parts} parts`).toBeLessThan(1e-5);
      expect(Math.abs(norm / whole.norm - 1), `norm of ${parts} parts`).toBeLessThan(1e-4);
    }
  }, 600_000);

  it("is refused where parts do not belong together", async () => {
    const attempt = (config: object, more: object = {}) =>
      runRecipe(
        recipeOf({
          name: "stage1",
          kind: "train",
          task: "speaker",
          like: "llava-stage1",
          data: { train: "talks" },
          batch: 2,
          parts: 1,
          steps: 1,
          config: { sight: description(), phase: "stage1", length: 48, ...config },
          ...more,
        }),
        { out: inside("refused"), threads: 1 },
      );
    const sight = JSON.parse(readFileSync(description(), "utf8"));
    // A projector that was made for another language model
    const bin = path.join(goldenPath("llava", "mm_projector-fp32"), "mm_projector.bin");
    const wide = { ...sight, language: { model: writeLanguageModel(inside("wide"), 40) } };
    await expect(attempt({ sight: wide }, { init: [{ file: bin }] })).rejects.toThrow(
      /"model\.mm_projector\.\d\.\w+" of .*mm_projector\.bin: .* is \[40.* here, \[32.* there/,
    );
    await expect(attempt({ lora: { targets: ["w_pack"] } })).rejects.toThrow(
      /no linear layer is called "w_pack"/,
    );
    await expect(attempt({ sight: inside("nothing.json") })).rejects.toThrow(/nothing\.json cannot be read/);
    // A tokenizer of another model
    const other = writeLanguageModel(inside("other"));
    const json = JSON.parse(readFileSync(path.join(other, "config.json"), "utf8"));
    writeFileSync(path.join(other, "config.json"), JSON.stringify({ ...json, vocab_size: 500 }));
    await expect(attempt({ sight: { ...sight, language: { model: other } } })).rejects.toThrow(
      /tokenizer of .*other does not belong to its language model|is \[642, 32\]/,
    );
  }, 600_000);
});

it("what identifies a stage says nothing of where the package lies", async () => {
  const sight = {
    encoders: { clip: { kind: "vision", model: "embedded:clip" } },
    language: { model: "embedded:vlm/llm" },
  };
  const config = await readModels(speakerConfig.parse({ sight }));
  expect(config.found!.language!.source).toBe("embedded:vlm/llm");
  expect(JSON.stringify(config)).not.toContain(path.resolve("assets"));
});

describe("recipes", () => {
  it("take LLaVA's settings by name, and what they say themselves first", () => {
    const stage = {
      name: "one",
      kind: "train",
      task: "speaker",
      like: "llava-stage2",
      optimizer: { lr: 1e-4 },
    };
    const { stages } = parseRecipe(JSON.stringify({ name: "like", stages: [stage] }));
    expect(stages[0]).toMatchObject({
      steps: { epochs: 1 },
      batch: 128,
      optimizer: { lr: 1e-4, weightDecay: 0, clip: 1, betas: [0.9, 0.999] },
      schedule: { kind: "cosine", warmup: 0.03 },
    });
    expect(stages[0]).not.toHaveProperty("like");
    const wrong = JSON.stringify({ name: "like", stages: [{ ...stage, like: "llava" }] });
    expect(() => parseRecipe(wrong)).toThrow(/stages\[0\]\.like/);
  });
});
