/** @file A model with one vision encoder, written as transformers' LLaVA, answers as it did. */

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeSafetensors, encodeSafetensors, Tensor } from "../src/tensor/index.js";
import { readTokenizer } from "../src/text/index.js";
import { randomAt } from "../src/training/index.js";
import type { ExportLayout } from "../src/training/task.js";
import { task } from "../src/training/tasks/speaker.js";
import { VisionLanguageModel } from "../src/vlm/index.js";
import { goldenPath } from "./golden.js";
import { clip, sd, writeConversations, writeLanguageModel } from "./training/small-vlm.js";

/** Of the language model's tokenizer: the number of "<image>", the last but one, and how many there are. */
const [image, rows] = [640, 642];

let folder = "";
const inside = (...parts: string[]) => path.join(folder, ...parts);
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "diffsight-llava-export-"));
  writeConversations(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const parsed = (...parts: string[]) => JSON.parse(readFileSync(inside(...parts), "utf8"));

/** Writes what the task exports, all of it untrained. */
async function exported(name: string, sight: object, layout: ExportLayout): Promise<string> {
  const config = await task.read!(task.config.parse({ sight, phase: "stage1", length: 48 }));
  const weights = task.initial(config, randomAt("initial", 3));
  const projector = new Map([...weights].filter(([key]) => key.startsWith("model.mm_projector.")));
  const base = await task.base!(config);
  const [component] = await task.export!({ config, weights: projector, base, dtype: "f32", layout });
  for (const [file, contents] of Object.entries(component!.files)) {
    mkdirSync(path.dirname(inside(name, file)), { recursive: true });
    writeFileSync(inside(name, file), typeof contents === "function" ? await contents() : contents);
  }
  return inside(name);
}

/** What it says, and how likely it finds something else. */
async function answer(model: string): Promise<{ ids: readonly number[]; logProbability: number }> {
  await using vlm = await VisionLanguageModel.fromPretrained(model, { template: "vicuna_v1" });
  const said = vlm.ask(inside("images", "r.png"), "What is in the picture?", {
    maxTokens: 8,
    ignoreEos: true,
  });
  await said.whole();
  const turns = [{ role: "user" as const, text: "<image>\nWhat is this?" }];
  const [score] = await vlm.score([{ turns, images: [inside("images", "r.png")], answer: "a red square" }]);
  return { ids: said.ids, logProbability: score!.logProbability };
}

/** The pictures' influence is small before any training: so are the tolerances. */
function expectAlike(a: Awaited<ReturnType<typeof answer>>, b: typeof a, digits = 4): void {
  expect(a.ids).toEqual(b.ids);
  expect(a.logProbability).toBeCloseTo(b.logProbability, digits);
}

/** A language model whose tokenizer knows no "<image>", and which has no row for it. */
function withoutImageToken(name: string): string {
  const place = writeLanguageModel(inside(name));
  const json = parsed(name, "tokenizer.json");
  json.added_tokens = json.added_tokens.filter(({ id }: { id: number }) => id < image);
  for (const token of ["<image>", "<pad>"]) delete json.model.vocab[token];
  writeFileSync(path.join(place, "tokenizer.json"), JSON.stringify(json));
  const config = parsed(name, "tokenizer_config.json");
  const { 640: _, 641: __, ...decoder } = config.added_tokens_decoder;
  const { pad_token: ___, ...own } = config;
  writeFileSync(
    path.join(place, "tokenizer_config.json"),
    JSON.stringify({ ...own, added_tokens_decoder: decoder }),
  );
  return place;
}

/** A language model with fewer rows of embeddings and of its head. */
function cutRows(place: string, count: number): void {
  const file = (name: string) => path.join(place, name);
  const config = JSON.parse(readFileSync(file("config.json"), "utf8"));
  writeFileSync(file("config.json"), JSON.stringify({ ...config, vocab_size: count }));
  const { tensors } = decodeSafetensors(readFileSync(file("model.safetensors")));
  const cut = [...tensors].map(([key, tensor]) => {
    if (tensor.dims[0] !== rows) return [key, tensor] as const;
    const width = tensor.dims[1]!;
    return [key, Tensor.f32([count, width], tensor.toFloat32().slice(0, count * width))] as const;
  });
  writeFileSync(file("model.safetensors"), encodeSafetensors(cut));
}

function headOf(name: string): Tensor {
  const { tensors } = decodeSafetensors(readFileSync(inside(name, "model-00001-of-00002.safetensors")));
  return tensors.get("language_model.lm_head.weight")!;
}

function rowOf(matrix: Tensor, row: number): number[] {
  const width = matrix.dims[1]!;
  return [...matrix.toFloat32().subarray(row * width, (row + 1) * width)];
}

describe("layout llava", () => {
  /** Of each way of bringing pictures to size: they differ. */
  const likely = new Map<string, number>();

  it.each(["pad", "crop", "squash"])("answers as the model did, with pictures that are %s", async (fit) => {
    const language = { model: writeLanguageModel(inside("llama")) };
    const sight = { encoders: { clip: { kind: "vision", model: clip, fit } }, language };
    const own = await answer(await exported(`own-${fit}`, sight, "model"));
    const llava = await exported(`llava-${fit}`, sight, "llava");
    expectAlike(await answer(llava), own);
    for (const other of likely.values()) expect(Math.abs(other - own.logProbability)).toBeGreaterThan(5e-4);
    likely.set(fit, own.logProbability);
    expect(parsed(`llava-${fit}`, "config.json")).toMatchObject({
      architectures: ["LlavaForConditionalGeneration"],
      image_token_index: image,
      text_config: { vocab_size: rows },
      vision_feature_layer: -2,
      vision_feature_select_strategy: "default",
    });
  });

  it.each([
    // Without a class token LLaVA's "default" would drop a patch.
    ["SigLIP", "siglip-vision", "full", 0],
    ["DINOv2", "dinov2", "default", 1],
  ])("holds %s, whatever its preprocessor", async (_, golden, strategy, more) => {
    const seen = inside(golden);
    cpSync(goldenPath(golden), seen, { recursive: true });
    const { image_size } = parsed(golden, "config.json");
    const language = { model: writeLanguageModel(inside("llama")) };
    for (const fit of ["pad", "squash"]) {
      // Its own file asks for another size than its kind's default.
      const size = { height: image_size, width: image_size };
      const preprocessor = {
        size,
        do_center_crop: false,
        image_mean: [0.4, 0.5, 0.6],
        image_std: [0.2, 0.3, 0.4],
      };
      const kind = {
        image_processor_type: golden === "dinov2" ? "BitImageProcessor" : "SiglipImageProcessor",
      };
      writeFileSync(
        path.join(seen, "preprocessor_config.json"),
        JSON.stringify({ ...kind, ...preprocessor }),
      );
      const sight = { encoders: { eye: { kind: "vision", model: seen, fit } }, language };
      const name = `${golden}-${fit}`;
      const own = await answer(await exported(`own-${name}`, sight, "model"));
      expectAlike(await answer(await exported(name, sight, "llava")), own);
      expect(parsed(name, "config.json").vision_feature_select_strategy).toBe(strategy);
      expect(parsed(name, "processor_config.json")).toMatchObject({
        vision_feature_select_strategy: strategy,
        num_additional_image_tokens: more,
      });
    }
    writeFileSync(
      inside(`${golden}-pad`, "config.json"),
      JSON.stringify({
        ...parsed(`${golden}-pad`, "config.json"),
        vision_feature_select_strategy: "default",
      }),
    );
    const opened = VisionLanguageModel.fromPretrained(inside(`${golden}-pad`), { template: "vicuna_v1" });
    if (more) await (await opened).release();
    else await expect(opened).rejects.toThrow('"default" drops a patch of siglip');
  });

  it.each([
    ["clip-vision", "vision_model."],
    ["siglip-vision", "vision_model."],
    ["dinov2", ""],
  ])("has the published keys of %s where its own file leaves out their root", async (golden, root) => {
    const seen = inside(`flat-${golden}`);
    cpSync(goldenPath(golden), seen, { recursive: true });
    const file = path.join(seen, "model.safetensors");
    const flat = [...decodeSafetensors(readFileSync(file)).tensors].flatMap(([key, tensor]) =>
      key.endsWith("position_ids") ? [] : [[key.replace(/^vision_model\./, ""), tensor] as const],
    );
    writeFileSync(file, encodeSafetensors(flat));
    const language = { model: writeLanguageModel(inside("llama")) };
    const sight = { encoders: { eye: { kind: "vision", model: seen, fit: "pad" } }, language };
    const llava = await exported(`llava-flat-${golden}`, sight, "llava");
    const index = parsed(`llava-flat-${golden}`, "model.safetensors.index.json");
    const keys = Object.keys(index.weight_map).filter((key) => key.startsWith("vision_tower."));
    expect(keys.sort()).toEqual(flat.map(([key]) => `vision_tower.${root}${key}`).sort());
    expectAlike(await answer(llava), await answer(await exported(`own-flat-${golden}`, sight, "model")));
  });

  it("prepares pictures as processor_config.json of the encoder says, in a file that every version reads", async () => {
    const seen = inside("nested");
    cpSync(clip, seen, { recursive: true });
    const { image_size: side } = parsed("nested", "config.json");
    const half = { image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };
    const image_processor = {
      image_processor_type: "CLIPImageProcessor",
      size: { shortest_edge: side },
      crop_size: { height: side, width: side },
      do_pad: null,
      ...half,
    };
    writeFileSync(path.join(seen, "processor_config.json"), JSON.stringify({ image_processor }));
    const language = { model: writeLanguageModel(inside("llama")) };
    const sight = { encoders: { eye: { kind: "vision", model: seen, fit: "crop" } }, language };
    await exported("llava-nested", sight, "llava");
    expect(parsed("llava-nested", "preprocessor_config.json")).toMatchObject({
      ...half,
      do_center_crop: true,
    });
    expect(parsed("llava-nested", "preprocessor_config.json")).not.toHaveProperty("do_pad", null);
    expect(parsed("llava-nested", "processor_config.json")).not.toHaveProperty("image_processor");
  });

  it("adds a token for pictures to SentencePiece's own file, and as many rows as it takes", async () => {
    const place = writeLanguageModel(inside("pieces"));
    rmSync(path.join(place, "tokenizer.json"));
    rmSync(path.join(place, "tokenizer_config.json"));
    cpSync(goldenPath("tokenizer-own", "pairs.model"), path.join(place, "tokenizer.model"));
    const { size } = await readTokenizer({
      "tokenizer.model": readFileSync(path.join(place, "tokenizer.model")),
    });
    cutRows(place, size - 1);
    const sight = { encoders: { clip: { kind: "vision", model: clip } }, language: { model: place } };
    const llava = await exported("llava-pieces", sight, "llava");
    expect(parsed("llava-pieces", "config.json")).toMatchObject({
      image_token_index: size,
      text_config: { vocab_size: size + 1 },
    });
    expect(parsed("llava-pieces", "tokenizer_config.json").added_tokens_decoder[size].content).toBe(
      "<image>",
    );
    const head = headOf("llava-pieces");
    expect(head.dims[0]).toBe(size + 1);
    const [last, before] = [size, size - 1].map((row) => rowOf(head, row));
    expect(last).toEqual(before);
    expect((await answer(llava)).ids).toHaveLength(8);
  });

  it("adds a token for pictures where the tokenizer has none, and a row that is never the likeliest", async () => {
    const place = withoutImageToken("bare");
    cutRows(place, image);
    const sight = { encoders: { clip: { kind: "vision", model: clip } }, language: { model: place } };
    const own = await answer(await exported("own-bare", sight, "model"));
    const llava = await exported("llava-bare", sight, "llava");
    // One token more to choose from makes nine tokens less likely by about 9 ln(641 / 640).
    const more = { ...own, logProbability: own.logProbability - 9 * Math.log1p(1 / image) };
    expectAlike(await answer(llava), more, 3);
    expect(parsed("llava-bare", "config.json")).toMatchObject({
      image_token_index: image,
      text_config: { vocab_size: image + 1 },
    });
    expect(parsed("llava-bare", "tokenizer.json").added_tokens.at(-1)).toMatchObject({
      id: image,
      content: "<image>",
      special: true,
    });
    expect(headOf("llava-bare").dims[0]).toBe(image + 1);
  });

  it("refuses what LLaVA has no place for, and says what", async () => {
    const language = { model: writeLanguageModel(inside("llama")) };
    const vision = { kind: "vision", model: clip };
    const cases: [object, string][] = [
      [{ encoders: { sd: { kind: "diffusion", model: sd } } }, "no encoder of kind diffusion (sd)"],
      [
        {
          encoders: { clip: vision, sd: { kind: "diffusion", model: sd } },
          fusion: { type: "cross-attention", queries: "clip", context: "sd", heads: 1 },
        },
        "one encoder, not clip, sd",
      ],
      [{ encoders: { clip: { ...vision, tokens: "class" } } }, "patches, not the class token alone"],
      [
        { encoders: { eye: { kind: "vision", model: goldenPath("vision-more", "dinov2-registers") } } },
        "encoder's registers for patches",
      ],
      [{ encoders: { clip: vision }, projector: "linear" }, "mlp2x_gelu, not linear"],
      [
        {
          encoders: { clip: vision },
          fusion: { type: "none", encoder: "clip", normalisation: "layer-norm" },
        },
        "no normalisation before its projector",
      ],
    ];
    for (const [sight, message] of cases)
      await expect(exported("refused", { ...sight, language }, "llava")).rejects.toThrow(message);
  });
});
