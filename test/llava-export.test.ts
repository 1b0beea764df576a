/** @file A model with one vision encoder, written as transformers' LLaVA, answers as it did. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeSafetensors } from "../src/tensor/index.js";
import { randomAt } from "../src/training/index.js";
import type { ExportLayout } from "../src/training/task.js";
import { task } from "../src/training/tasks/speaker.js";
import { VisionLanguageModel } from "../src/vlm/index.js";
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

  it("adds a token for pictures where the tokenizer has none, and a row that is never the likeliest", async () => {
    const place = withoutImageToken("bare");
    const config = parsed("bare", "config.json");
    writeFileSync(path.join(place, "config.json"), JSON.stringify({ ...config, vocab_size: image }));
    const weights = [...decodeSafetensors(readFileSync(path.join(place, "model.safetensors"))).tensors];
    const { encodeSafetensors, Tensor } = await import("../src/tensor/index.js");
    const cut = weights.map(([key, tensor]) => {
      if (tensor.dims[0] !== rows) return [key, tensor] as const;
      const width = tensor.dims[1]!;
      return [key, Tensor.f32([image, width], tensor.toFloat32().slice(0, image * width))] as const;
    });
    writeFileSync(path.join(place, "model.safetensors"), encodeSafetensors(cut));

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
    const { tensors } = decodeSafetensors(
      readFileSync(inside("llava-bare", "model-00001-of-00002.safetensors")),
    );
    expect(tensors.get("language_model.lm_head.weight")!.dims[0]).toBe(image + 1);
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
