/** @file What each task learns from, on a toy world: batches, a few steps that lower the loss, files that open again. */

import { readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Store, StoreWriter, writeShard } from "../src/data/index.js";
import { listTaps } from "../src/diffusion/taps.js";
import { constant, input } from "../src/graph/index.js";
import { vaePixels } from "../src/image/index.js";
import {
  initialise,
  readClipConfig,
  readClipTextConfig,
  readUnetConfig,
  readVaeConfig,
  unet,
  unetLayout,
  vaeDecode,
  vaeEncode,
} from "../src/models/index.js";
import { Tensor, TorchGenerator } from "../src/tensor/index.js";
import { randomAt, type Settings, StepProgram, settingsSchema, type Task } from "../src/training/index.js";
import { sampled } from "../src/training/losses.js";
import { adamwStep } from "../src/training/optimizer.js";
import { producer as latents } from "../src/training/producers/latents.js";
import { parseRecipe } from "../src/training/recipe.js";
import { task as autoencoder, standardised } from "../src/training/tasks/autoencoder.js";
import { task as clip } from "../src/training/tasks/clip.js";
import { task as diffusion } from "../src/training/tasks/diffusion.js";
import { picturesOf, stacked } from "../src/training/tasks/pictures.js";
import { drawPrompt } from "../src/training/tasks/prompts.js";
import { task as speaker } from "../src/training/tasks/speaker.js";
import { flatten, layoutOf, scopeOf, unflatten } from "../src/training/weights.js";
import { openModel } from "../src/weights/index.js";
import { evaluate } from "./reference/evaluate.js";

const side = 16;
const colours = { red: [220, 40, 30], green: [40, 190, 60], blue: [30, 60, 210], white: [240, 240, 240] };
const names = Object.keys(colours) as (keyof typeof colours)[];
const places = ["left", "right"] as const;
const words = ["a", "square", "in", "the", "picture", "what", "color", "is", "it", "?", ...names, ...places];

let root: string;
let data: { train: Store; validation: Store };

/** Squares of four colours at the left or the right; their latents are small pictures themselves. */
async function toyWorld(name: string, rows: number, seed: number): Promise<Store> {
  const random = new TorchGenerator(seed);
  const folder = path.join(root, name);
  const columns = {
    rgb: { dtype: "u8", dims: [side, side, 3] },
    latent: { dtype: "f16", dims: [4, 8, 8] },
  } as const;
  const writer = StoreWriter.open(folder, { key: name, rows, columns, lines: true, shardRows: 64 });
  for (const range of writer.missing) {
    const n = range.to - range.from;
    const rgb = new Uint8Array(n * side * side * 3).fill(90);
    const latent = new Float32Array(n * 4 * 64);
    const lines = Array.from({ length: n }, (_, i) => {
      const index = range.from + i;
      const [colour, at] = [names[index % 4]!, places[(index >> 2) % 2]!];
      const jitter = Number(random.randint(0, 3, [1]).data[0]);
      const left = (at === "left" ? 1 : 8) + jitter;
      for (let y = 5; y < 11; y++) {
        for (let x = left; x < left + 5; x++) rgb.set(colours[colour], ((i * side + y) * side + x) * 3);
      }
      for (let channel = 0; channel < 4; channel++) {
        for (let cell = 0; cell < 64; cell++) {
          const inside = at === "left" ? cell % 8 < 4 : cell % 8 >= 4;
          latent[(i * 4 + channel) * 64 + cell] = (channel === index % 4 ? 1 : -1) * (inside ? 1 : 0.2);
        }
      }
      const captions = { loose: `a ${colour} square`, full: `a ${colour} square ${at}` };
      return { captions, questions: [{ question: "what color is it ?" }] };
    });
    const pixels = new Tensor("u8", [n, side, side, 3], rgb);
    const latents = Tensor.f32([n, 4, 8, 8], latent).to("f16");
    const made = { columns: { rgb: pixels, latent: latents }, lines };
    writer.record(await writeShard(folder, range, { columns, lines: true }, made));
  }
  return writer.finish();
}

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), "diffsight-tasks-"));
  data = { train: await toyWorld("train", 256, 1), validation: await toyWorld("validation", 64, 2) };
});
afterAll(() => rm(root, { recursive: true }));

const text = { hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2 };
const tokenizer = { words, length: 10 };

const autoencoderConfig = {
  network: {
    block_out_channels: [8, 16],
    down_block_types: ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    up_block_types: ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    norm_num_groups: 1,
    sample_size: side,
  },
  crop: 8,
};
const clipConfig = {
  network: {
    projection_dim: 8,
    text_config: text,
    vision_config: { ...text, image_size: side, patch_size: 4 },
  },
  tokenizer,
  prompts: { loose: 0.8, full: 0.2 },
  visible: 8,
  candidates: 4,
};
const diffusionConfig = {
  unet: {
    sample_size: 8,
    block_out_channels: [16, 24],
    down_block_types: ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types: ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    layers_per_block: 1,
    cross_attention_dim: 16,
    attention_head_dim: [1, 2],
    norm_num_groups: 8,
    use_linear_projection: true,
  },
  textEncoder: text,
  tokenizer,
  scheduler: {
    _class_name: "DDIMScheduler",
    beta_schedule: "scaled_linear",
    beta_start: 0.00085,
    beta_end: 0.012,
    prediction_type: "epsilon",
    clip_sample: false,
  },
  prompts: { full: 0.7, loose: 0.1, question: 0.1, empty: 0.1 },
};

const settings = (batch: number, lr: number, steps: number): Settings =>
  settingsSchema.parse({ steps, batch, optimizer: { lr }, validation: { every: steps } });

const tasks = [
  {
    name: "autoencoder",
    task: autoencoder as Task,
    config: autoencoderConfig,
    batch: 8,
    lr: 3e-3,
    steps: 40,
  },
  { name: "clip", task: clip as Task, config: clipConfig, batch: 16, lr: 3e-3, steps: 60 },
  { name: "diffusion", task: diffusion as Task, config: diffusionConfig, batch: 8, lr: 2e-3, steps: 40 },
];

/** Trains in this thread. */
async function trained({ task, config: json, batch, lr, steps }: (typeof tasks)[number]) {
  const config = task.config.parse(json);
  const own = settings(batch, lr, steps);
  const initial = task.initial(config, randomAt("initial", 0));
  const graph = task.graph({ config, w: scopeOf(initial), split: "train", batch });
  const layout = layoutOf(graph, initial, []);
  const examples = await task.open({ config, data, seed: 0 });
  const program = await StepProgram.open(task, { config, settings: own, initial, examples });
  try {
    flatten(layout, initial, program.weights);
    const zeros = () => new Float32Array(layout.length);
    const state = { weights: program.weights, first: zeros(), second: zeros() };
    const before = await program.evaluate(0);
    for (let step = 0; step < steps; step++) {
      await program.train(step, 0);
      const span = { begin: 0, end: layout.length };
      const adamw = { betas: [0.9, 0.99] as const, eps: 1e-8, weightDecay: 0.01 };
      adamwStep(state, program.gradients, span, adamw, { rate: lr, clip: 1, step: step + 1 });
    }
    const after = await program.evaluate(0);
    return { before, after, weights: unflatten(layout, program.weights, initial), config };
  } finally {
    await program.dispose();
  }
}

describe.each(tasks)("$name", (entry) => {
  const { task } = entry;
  const config = task.config.parse(entry.config);

  it("makes the same batch for the same request, whatever was made before, and another for another", async () => {
    const examples = await task.open({ config, data, seed: 0 });
    const batch = (step: number) =>
      examples.batch({
        split: "train",
        step,
        part: 0,
        rows: Array.from({ length: entry.batch }, (_, i) => i * 3),
        random: randomAt("train", 0, step, 0),
        warn: () => {},
      });
    const first = await batch(0);
    const second = await batch(1);
    expect(await batch(0)).toEqual(first);
    expect(second).not.toEqual(first);
  });

  it("feeds each input of both graphs with a tensor of its shape", async () => {
    const examples = await task.open({ config, data, seed: 0 });
    const w = scopeOf(task.initial(config, randomAt("initial", 0)));
    for (const split of ["train", "validation"] as const) {
      const size = split === "train" ? entry.batch : (task.validationBatch?.(config) ?? entry.batch);
      const { inputs } = task.graph({ config, w, split, batch: size });
      const rows = Array.from({ length: size }, (_, i) => i);
      const random = randomAt(split, 0, 0);
      const given = await examples.batch({ split, step: 0, part: 0, rows, random, warn: () => {} });
      const shapes = (of: Record<string, { dtype: string; dims: readonly number[] }>) =>
        Object.fromEntries(Object.entries(of).map(([name, { dtype, dims }]) => [name, `${dtype} ${dims}`]));
      expect(shapes(given)).toEqual(shapes(inputs));
    }
  });

  it("learns: a few steps lower the validation's loss", async () => {
    const { before, after, weights } = await trained(entry);
    expect(after.loss).toBeLessThan(0.8 * before.loss);
    for (const value of Object.values(after.metrics)) expect(Number.isFinite(value)).toBe(true);
    if (entry.name === "clip") expect(after.metrics.recall).toBeGreaterThanOrEqual(0.75);
    if (entry.name === "autoencoder") {
      expect(after.metrics.psnr).toBeGreaterThan(before.metrics.psnr! + 3);
      expect(
        weights
          .get("latent_log_deviation")!
          .toFloat32()
          .every((value) => value !== 0),
      ).toBe(true);
    }

    const components = await task.export!({ config, weights, dtype: "f32", layout: "model" });
    for (const { name, files } of components) {
      await mkdir(path.join(root, entry.name, name), { recursive: true });
      for (const [file, contents] of Object.entries(files)) {
        const place = path.join(root, entry.name, name, file);
        await writeFile(place, typeof contents === "function" ? await contents() : contents);
      }
    }
    for (const { name } of components.filter(({ files }) => "config.json" in files)) {
      const folder = await openModel(path.join(root, entry.name, name));
      const json = await folder.json("config.json");
      const read = {
        vae: readVaeConfig,
        clip: readClipConfig,
        unet: readUnetConfig,
        text_encoder: readClipTextConfig,
      };
      expect(() => read[name as keyof typeof read](json)).not.toThrow();
      const checkpoint = await folder.checkpoint("");
      const key = [...checkpoint.entries.keys()].find((one) => !one.includes("quant_conv"))!;
      const found = weights.get(entry.name === "diffusion" ? `${name}.${key}` : key)!;
      expect(await checkpoint.read(key)).toEqual(found);
    }
  });
});

describe("latents", () => {
  const config = autoencoder.config.parse(autoencoderConfig);
  const weights = new Map(autoencoder.initial(config, randomAt("initial", 0)));
  const deviations = [0.5, 2, 1, 3];
  const means = [1, 0, -2, 0.5];
  weights.set("latent_log_deviation", Tensor.f32([4], deviations.map(Math.log)));
  weights.set("latent_mean", Tensor.f32([4], means));
  const open = (batch: number) =>
    latents.open({
      config: { batch },
      data: { pictures: data.validation },
      models: { vae: { task: "autoencoder", config, weights } },
    });

  it("are the posterior's means, scaled, beside the pictures' lines, whatever the range and the batch", async () => {
    const [few, many] = [await open(3), await open(8)];
    expect(few.count).toBe(data.validation.rows);
    expect(few.columns).toEqual({ latent: { dtype: "f16", dims: [4, 8, 8] } });
    const whole = await many.make(0, 8, () => {});
    const part = await few.make(2, 7, () => {});
    const rows = (tensor: Tensor, from: number, to: number) => tensor.toFloat32().slice(from * 256, to * 256);
    const [all, some] = [whole.columns.latent!, part.columns.latent!];
    const expected = rows(all, 2, 7);
    for (const [i, value] of rows(some, 0, 5).entries()) expect(value).toBeCloseTo(expected[i]!, 2);
    expect(part.lines).toEqual([2, 3, 4, 5, 6].map((row) => data.validation.line(row)));

    const vae = readVaeConfig(config.network);
    const pictures = picturesOf(data.validation, [0, 1]).map(vaePixels);
    const pixels = stacked(pictures);
    const { mean } = vaeEncode(scopeOf(weights), vae, constant(pixels));
    const found = evaluate({ mean }).mean!.data;
    for (const [i, value] of rows(all, 0, 2).entries()) {
      const channel = Math.floor(i / 64) % 4;
      expect(value).toBeCloseTo((found[i]! - means[channel]!) / deviations[channel]!, 2);
    }
    await few.release?.();
    await many.release?.();
  });

  it("are read back by the exported autoencoder: reconstructions stay as they are", () => {
    const vae = readVaeConfig(config.network);
    const pixels = constant(stacked(picturesOf(data.validation, [0, 1]).map(vaePixels)));
    const noise = constant(new TorchGenerator(4).randn([2, 4, 8, 8]));
    const drawn = (given: ReadonlyMap<string, Tensor>) => {
      const w = scopeOf(given);
      return vaeDecode(w, vae, sampled(vaeEncode(w, vae, pixels), noise));
    };
    const { before, after } = evaluate({ before: drawn(weights), after: drawn(standardised(weights)) });
    for (const [i, value] of after!.data.entries()) expect(value).toBeCloseTo(before!.data[i]!, 4);
  });

  it("need an autoencoder, and pictures of its size", async () => {
    const models = { vae: { task: "autoencoder", config, weights } };
    const pictures = data.validation;
    await expect(latents.open({ config: { batch: 1 }, data: { pictures }, models: {} })).rejects.toThrow(
      /"vae" is missing/,
    );
    await expect(latents.open({ config: { batch: 1 }, data: {}, models })).rejects.toThrow(
      /"pictures" is missing/,
    );
  });
});

describe("prompts", () => {
  const texts = {
    captions: { loose: "loose", full: "full" },
    questions: [{ question: "one" }, { question: "two" }],
  };

  it("are mixed by their shares", () => {
    const random = new TorchGenerator(3);
    const shares = { full: 0.5, loose: 0.2, question: 0.2, empty: 0.1 };
    const counts: Record<string, number> = {};
    for (let i = 0; i < 4000; i++) {
      const prompt = drawPrompt(texts, shares, random);
      counts[prompt] = (counts[prompt] ?? 0) + 1 / 4000;
    }
    for (const [prompt, share] of [
      ["full", 0.5],
      ["loose", 0.2],
      ["one", 0.1],
      ["two", 0.1],
      ["", 0.1],
    ] as const) {
      expect(counts[prompt]).toBeCloseTo(share, 1);
    }
  });

  it("of a picture without questions are its full caption", () => {
    const only = { full: 0, loose: 0, question: 1, empty: 0 };
    expect(drawPrompt({ ...texts, questions: [] }, only, new TorchGenerator(0))).toBe("full");
  });
});

describe("a config", () => {
  const message = (task: Task, json: unknown) => task.config.safeParse(json).error?.issues[0]?.message;

  it("names what is wrong in a network", () => {
    const network = { ...autoencoderConfig.network, block_out_channels: [8, 12], norm_num_groups: 8 };
    expect(message(autoencoder as Task, { network })).toMatch(/12 channels do not divide/);
    const scheduler = { ...diffusionConfig.scheduler, prediction_type: "sample" };
    expect(message(diffusion as Task, { ...diffusionConfig, scheduler })).toMatch(/epsilon or v_prediction/);
    const nameless = { ...diffusionConfig.scheduler, _class_name: undefined };
    expect(message(diffusion as Task, { ...diffusionConfig, scheduler: nameless })).toMatch(
      /_class_name is needed/,
    );
    const sizeless = { ...diffusionConfig.unet, sample_size: undefined };
    expect(message(diffusion as Task, { ...diffusionConfig, unet: sizeless })).toMatch(
      /sample_size is needed/,
    );
  });

  it("wants shares that add up to 1", () => {
    expect(message(clip as Task, { ...clipConfig, prompts: { loose: 0.5 } })).toMatch(/do not add up to 1/);
  });

  it("wants squares that latents tile, out of the picture", () => {
    const graph = (crop: number) => {
      const config = autoencoder.config.parse({ ...autoencoderConfig, crop });
      const w = scopeOf(autoencoder.initial(config, new TorchGenerator(0)));
      return () => autoencoder.graph({ config, w, split: "train", batch: 1 });
    };
    expect(graph(9)).toThrow(/Latents of 2 pixels a side do not tile a square of 9/);
    expect(graph(18)).toThrow(/18 pixels cannot be cut out of pictures of 16/);
    const sizeless = {
      ...autoencoderConfig,
      network: { ...autoencoderConfig.network, sample_size: undefined },
    };
    expect(message(autoencoder as Task, sizeless)).toMatch(/sample_size is needed/);
  });

  it("does not fit stores of other pictures, or none", async () => {
    const config = autoencoder.config.parse({ network: { ...autoencoderConfig.network, sample_size: 32 } });
    await expect(autoencoder.open({ config, data, seed: 0 })).rejects.toThrow(
      /rgb.*\[16, 16, 3\].*\[32, 32, 3\]/,
    );
    await expect(autoencoder.open({ config, data: {}, seed: 0 })).rejects.toThrow(/"train" is missing/);
    const many = clip.config.parse({ ...clipConfig, candidates: 9 });
    await expect(clip.open({ config: many, data, seed: 0 })).rejects.toThrow(
      /4 distinct loose captions, not 9/,
    );
  });
});

describe("the recipes", () => {
  const folder = fileURLToPath(new URL("../recipes/", import.meta.url));
  const texts = readdirSync(folder).map((file) => readFileSync(path.join(folder, file), "utf8"));
  // Beside them lie plans of sweeps.
  const recipes = texts.filter((text) => "stages" in JSON.parse(text)).map(parseRecipe);
  const stages = recipes.flatMap(({ name, stages }) =>
    stages.flatMap((stage) => (stage.kind === "train" ? [{ recipe: name, name: stage.name, stage }] : [])),
  );
  const byName = Object.fromEntries(
    [...tasks, { name: "speaker", task: speaker as Task }].map(({ name, task }) => [name, task]),
  );

  it.each(stages)("$recipe: the config of $name is the task's", ({ stage }) => {
    expect(byName[stage.task]!.config.safeParse(stage.config).error).toBeUndefined();
  });

  it.each(recipes.filter(({ stages }) => stages.some(({ name }) => name === "control")))(
    "$name: the control sees as many pictures as the U-Net, with the same mixture of texts",
    ({ stages }) => {
      const trained = stages.filter((stage) => stage.kind === "train");
      const named = (name: string) => trained.filter((stage) => stage.name.replace("-hidden", "") === name);
      const seen = (name: string) =>
        named(name).reduce((sum, { steps, batch }) => sum + Number(steps) * batch, 0);
      expect(seen("control")).toBe(seen("sd"));
      for (const { config } of named("control"))
        expect(config.prompts).toEqual(named("sd")[0]!.config.prompts);
    },
  );

  const unets = stages.filter(({ stage }) => stage.task === "diffusion");
  it.each(unets)(
    "$recipe: $name has every tap of the paper's Table 1, U-L1 on the 8 x 8 grid",
    ({ stage }) => {
      const json = stage.config as typeof diffusionConfig;
      const config = readUnetConfig(json.unet);
      const w = scopeOf(initialise(unetLayout(json.unet), new TorchGenerator(0)));
      unet(w, config, {
        sample: input("sample", [1, 4, ...config.sampleSize!]),
        timestep: input("timestep", [1, config.down[0]!.channels]),
        encoderHiddenStates: input("states", [1, 32, json.textEncoder.hidden_size]),
      });
      const taps = new Map(listTaps(w.taps, []).map((tap) => [tap.short, tap.value.dims.slice(2)]));
      expect(Object.fromEntries(taps)).toMatchObject({
        "D-L2-R0-B0-Cross-Q": [4, 4],
        "U-L1-R1-B0-Cross-Q": [8, 8],
        "U-L1-R1-B0-Out": [8, 8],
        "U-L1-R2-B0-Cross-Q": [8, 8],
        "U-L2-R1-B0-Cross-Q": [16, 16],
        "U-L2-R2-Res-Out": [16, 16],
      });
    },
  );
});
