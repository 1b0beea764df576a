/** @file LLaVA in its layouts against transformers: what the language model is given in the place of a picture. */

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { input } from "../src/graph/index.js";
import { initialise } from "../src/models/index.js";
import { decodeSafetensors, encodeSafetensors, Tensor, TorchGenerator } from "../src/tensor/index.js";
import {
  type LlavaOptions,
  llavaImageFeatures,
  llavaKey,
  openLlava,
  planSplice,
  projector,
  projectorLayout,
  readLlavaConfig,
  readProjectorType,
  splice,
  spliceIndex,
  spliceParts,
} from "../src/vlm/index.js";
import { openCheckpoint, openModel, Scope } from "../src/weights/index.js";
import { expectClose, Golden, goldenPath } from "./golden.js";
import "./properties.js";
import { evaluate } from "./reference/evaluate.js";

const golden = new Golden("llava");
const config = JSON.parse(readFileSync(goldenPath("llava", "config.json"), "utf8"));
const { tensors } = decodeSafetensors(readFileSync(goldenPath("llava", "model.safetensors")));
const scratch = mkdtempSync(path.join(tmpdir(), "diffsight-llava-"));
const engine = await Engine.open({ device: "cpu" });
afterAll(async () => {
  await engine.dispose();
  rmSync(scratch, { recursive: true });
});

/** A folder of the golden's tensors under other names. */
function written(
  name: string,
  json: object,
  rename: (key: string) => string | undefined,
  file = "model.safetensors",
): string {
  const folder = path.join(scratch, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, "config.json"), JSON.stringify(json));
  const kept = [...tensors].flatMap(([key, tensor]) => {
    const renamed = rename(key);
    return renamed === undefined ? [] : [[renamed, tensor] as const];
  });
  writeFileSync(path.join(folder, file), encodeSafetensors(new Map(kept)));
  return folder;
}

const tower = written("clip", config.vision_config, (key) =>
  key.startsWith("vision_tower.") ? key.slice("vision_tower.".length) : undefined,
);
const llama = written("llama", config.text_config, (key) =>
  key.startsWith("language_model.") ? key.slice("language_model.".length) : undefined,
);
const originalConfig = {
  ...config.text_config,
  model_type: "llava",
  mm_vision_tower: tower,
  mm_projector_type: "mlp2x_gelu",
  mm_hidden_size: 32,
  mm_vision_select_layer: -2,
  mm_vision_select_feature: "patch",
  image_aspect_ratio: "pad",
};
const originalKey = (key: string) => {
  if (key.startsWith("language_model.")) return key.slice("language_model.".length);
  const place = /^multi_modal_projector\.linear_([12])\.(.*)$/.exec(key);
  if (place) return `model.mm_projector.${place[1] === "1" ? 0 : 2}.${place[2]}`;
  return undefined;
};
const alone = written(
  "alone",
  { ...originalConfig, _name_or_path: llama },
  (key) => (key.startsWith("multi_modal_projector.") ? originalKey(key) : undefined),
  "mm_projector.bin",
);

/** Every spelling that such a model has been published in. */
const layouts: { name: string; folder: string; options?: LlavaOptions }[] = [
  { name: "transformers", folder: goldenPath("llava") },
  {
    name: "transformers since 4.52",
    folder: written("new", config, (key) =>
      key
        .replace(/^language_model\.lm_head/, "lm_head")
        .replace(/^language_model\.model/, "model.language_model")
        .replace(/^(vision_tower|multi_modal_projector)/, "model.$1"),
    ),
  },
  { name: "the original, its tower elsewhere", folder: written("original", originalConfig, originalKey) },
  {
    name: "the original, its tower trained along",
    folder: written("trained", { ...originalConfig, mm_vision_tower: "./tower" }, (key) =>
      key.startsWith("vision_tower.") ? `model.vision_tower.${key}` : originalKey(key),
    ),
  },
  { name: "a projector alone", folder: alone },
  {
    name: "a projector alone, its networks named by the caller",
    folder: written(
      "named",
      { ...originalConfig, mm_vision_tower: "somebody/clip" },
      (key) => (key.startsWith("multi_modal_projector.") ? originalKey(key) : undefined),
      "mm_projector.bin",
    ),
    options: { vision: tower, language: llama },
  },
];
cpSync(tower, path.join(scratch, "trained", "tower"), { recursive: true });
// As in LLaVA 1.5's own folders: the first stage's projector lies there still.
const stale = goldenPath("llava", "mm_projector-views", "mm_projector.bin");
cpSync(stale, path.join(scratch, "original", "mm_projector.bin"));

describe.each(layouts)("LLaVA as $name", ({ folder, options }) => {
  it("has transformers' projected features of its pictures", async () => {
    const llava = await openLlava(await openModel(folder), options);
    for (const name of ["case0", "case1-two-images"]) {
      const one = golden.case(name);
      const pixels = golden.input(one, "pixel_values");
      const program = engine.compile({ features: llavaImageFeatures(llava, input("pixels", pixels.dims)) });
      const { features } = await program.run({ pixels });
      await program.release();
      expectClose(features!, golden.output(one, "image_features"), one.outputs.image_features!.atol!, name);
    }
  });

  it("gives its language model's tensors under the language model's own names", async () => {
    const { language } = await openLlava(await openModel(folder), options);
    const expected = [...tensors.keys()].filter((key) => key.startsWith("language_model."));
    const keys = [...language.checkpoint.entries.keys()];
    expect(keys.sort()).toEqual(expected.map((key) => key.slice("language_model.".length)).sort());
    expect(await language.checkpoint.read("lm_head.weight")).toEqual(
      tensors.get("language_model.lm_head.weight"),
    );
    expect(language.config).toMatchObject({ hidden_size: 32, vocab_size: 120 });
  });
});

describe("a LLaVA's language model", () => {
  const read = (json: object) => readLlavaConfig(json).language as Record<string, unknown>;

  it("has a tied head when the whole or its text says so", () => {
    const text = { ...config.text_config, tie_word_embeddings: false };
    expect(read({ ...config, text_config: text, tie_word_embeddings: true }).tie_word_embeddings).toBe(true);
    expect(read({ ...config, text_config: text, tie_word_embeddings: false }).tie_word_embeddings).toBe(
      false,
    );
    const tied = { ...text, tie_word_embeddings: true };
    expect(read({ ...config, text_config: tied, tie_word_embeddings: false }).tie_word_embeddings).toBe(true);
  });

  it.each([
    ["llava_llama", "llama"],
    ["llava_mistral", "mistral"],
    ["llava_qwen2", "qwen2"],
  ])("of the original's %s is %s", (model_type, language) => {
    expect(read({ ...originalConfig, model_type }).model_type).toBe(language);
  });
});

describe("a LLaVA that does not fit together", () => {
  it("names the projector whose sizes are wrong", async () => {
    const clip = { ...config.vision_config, hidden_size: 16 };
    const folder = written("narrow", { ...config, vision_config: clip }, (key) => key);
    const llava = await openLlava(await openModel(folder));
    const w = Scope.of(llava.projector.checkpoint).at("mm_projector");
    expect(() => projector(w, llava.projector.config, input("x", [1, 4, 16]))).toThrow(
      /"mm_projector.0.weight" is \[32, 32\], the config asks for \[32, 16\]/,
    );
  });

  it("needs no tensor of a projector that does nothing", async () => {
    const json = { ...originalConfig, mm_projector_type: "identity" };
    const folder = written("identity", json, (key) =>
      key.startsWith("multi_modal_projector.") ? undefined : originalKey(key),
    );
    const llava = await openLlava(await openModel(folder));
    expect(llavaImageFeatures(llava, input("pixels", [1, 3, 28, 28])).dims).toEqual([1, 16, 32]);
  });

  it("names the sizes of pictures that are not those of its vision encoder", async () => {
    const crop_size = { height: 42, width: 42 };
    const folder = written("large", config, (key) => key);
    const preprocessor = { size: { shortest_edge: 42 }, crop_size };
    writeFileSync(path.join(folder, "preprocessor_config.json"), JSON.stringify(preprocessor));
    await expect(openLlava(await openModel(folder))).rejects.toThrow(
      /makes them 42 x 42, its clip .* on 28 x 28/,
    );
  });

  it("names what it looked for when there are no weights at all", async () => {
    const folder = mkdtempSync(path.join(scratch, "empty-"));
    writeFileSync(path.join(folder, "config.json"), JSON.stringify(originalConfig));
    await expect(openLlava(await openModel(folder))).rejects.toMatchObject({ code: "WEIGHTS_MISSING" });
  });

  it("names the part that is missing", async () => {
    const folder = written("blind", config, (key) => (key.startsWith("vision") ? undefined : key));
    await expect(openLlava(await openModel(folder))).rejects.toThrow(/holds no tensor of a vision encoder/);
    const bare = written("bare", originalConfig, () => undefined, "mm_projector.bin");
    await expect(openLlava(await openModel(bare))).rejects.toThrow(/name its language model/);
  });

  it.each([
    [{ model_type: "llava_next" }, /model_type/],
    [{ ...config, projector_hidden_act: "relu" }, /projector_hidden_act/],
    [{ ...originalConfig, image_aspect_ratio: "anyres" }, /image_aspect_ratio/],
    [{ ...originalConfig, mm_use_im_start_end: true }, /mm_use_im_start_end/],
    [{ ...originalConfig, mm_projector_type: "resampler" }, /Unknown projector "resampler"/],
    [null, /the file/],
  ])("is refused by the name of the field %#", (json, message) => {
    expect(() => readLlavaConfig(json)).toThrow(message);
  });

  it("has no key that belongs to two parts", () => {
    for (const key of tensors.keys()) expect(llavaKey(llavaKey(key).key).key).toBe(llavaKey(key).key);
    expect(llavaKey("base_model.model.model.mm_projector.2.bias")).toEqual({
      component: "projector",
      key: "mm_projector.2.bias",
    });
  });
});

describe("projectors", () => {
  const one = golden.case("projector");
  const x = golden.input(one, "x");

  it.each([
    ["fp32", "mm_projector.bin"],
    ["fp32", "mm_projector.safetensors"],
    ["bf16", "mm_projector.bin"],
  ])("mlp2x_gelu of mm_projector-%s/%s equals torch's", async (name, file) => {
    const checkpoint = await openCheckpoint(goldenPath("llava", `mm_projector-${name}`, file));
    const w = Scope.of(checkpoint).at("model", "mm_projector");
    const y = projector(w, { type: "mlp2x_gelu", from: 32, to: 32 }, input("x", x.dims));
    const { y: found } = await engine.compile({ y }).run({ x });
    expectClose(found!, golden.output(one, name), one.outputs[name]!.atol!);
  });

  it.each([
    ["linear", ["p.bias", "p.weight"]],
    ["identity", []],
    ["mlp1x_gelu", ["p.0.bias", "p.0.weight"]],
    ["mlp3x_gelu", ["p.0.bias", "p.0.weight", "p.2.bias", "p.2.weight", "p.4.bias", "p.4.weight"]],
  ])("%s starts with the tensors that LLaVA gives it", (name, keys) => {
    const layout = projectorLayout("p", { type: readProjectorType(name), from: 8, to: 8 });
    expect(layout.map(({ key }) => key)).toEqual(keys);
    expect([...initialise(layout, new TorchGenerator(1)).keys()]).toEqual(keys);
  });

  it("that are unknown or impossible are refused", () => {
    expect(() => readProjectorType("mlp0x_gelu")).toThrow(/Unknown projector "mlp0x_gelu"/);
    expect(() => projectorLayout("p", { type: "identity", from: 8, to: 9 })).toThrow(/8 channels to 9/);
  });
});

describe("splicing", () => {
  const image = -200;
  const plan = (sequences: number[][], imageLengths: number[], more = {}) =>
    planSplice(sequences, { imageToken: image, imageLengths, ...more });

  it("gives every image its rows, in the order in which the sequences name them", () => {
    const { ids, index, spans, images, length } = plan(
      [
        [1, image, 7],
        [image, 9, image, 8],
      ],
      [2, 1, 2],
    );
    expect(length).toBe(5);
    expect(ids).toEqual([
      [1, 0, 0, 7, 0],
      [0, 9, 0, 0, 8],
    ]);
    expect(index).toEqual([
      [0, 10, 11, 3, 4],
      [12, 6, 13, 14, 9],
    ]);
    expect(spans).toEqual([
      [0, 4],
      [0, 5],
    ]);
    expect(images).toEqual([
      { sequence: 0, image: 0, from: 1, to: 3 },
      { sequence: 1, image: 1, from: 0, to: 1 },
      { sequence: 1, image: 2, from: 2, to: 4 },
    ]);
  });

  it("leaves images and padding out of the loss, cuts what is too long and says which images it cut", () => {
    const { labels, cut, spans, ids } = plan([[1, image, 7, 8], [5]], [3], {
      labels: [[-100, -100, 7, 8], [5]],
      maxLength: 3,
      padding: "left",
      padToken: 99,
    });
    expect(cut).toEqual([0]);
    expect(ids).toEqual([
      [1, 99, 99],
      [99, 99, 5],
    ]);
    expect(labels).toEqual([
      [-100, -100, -100],
      [-100, -100, 5],
    ]);
    expect(spans).toEqual([
      [0, 3],
      [2, 3],
    ]);
  });

  it("refuses images and tokens that do not belong together", () => {
    expect(() => plan([[1, image]], [])).toThrow(/1 image tokens and 0 images/);
    expect(() => plan([[1]], [4])).toThrow(/0 image tokens and 1 images/);
    expect(() => plan([[1, 2]], [], { labels: [[1]] })).toThrow(/Sequence 0 has 2 tokens and 1 labels/);
    expect(() => spliceParts([1, image, 2], [])).toThrow(/1 image tokens and 0 images/);
  });

  it("gives a language model texts and images in turn", () => {
    const [a, b] = [Tensor.f32([2, 3]), Tensor.f32([1, 3])];
    expect(spliceParts([1, 2, image, image, 7], [a, b])).toEqual([[1, 2], a, b, [7]]);
    expect(spliceParts([image], [a])).toEqual([a]);
    expect(spliceParts([1, 99], [b], 99)).toEqual([[1], b]);
    expect(spliceParts([1], [])).toEqual([[1]]);
  });

  it("puts the same rows into a graph", () => {
    const width = 3;
    const token = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 9 }) }, fc.constant(image));
    const sequences = fc.array(fc.array(token, { minLength: 1, maxLength: 6 }), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(sequences, fc.constantFrom("left" as const, "right" as const), (tokens, padding) => {
        const count = tokens.flat().filter((id) => id === image).length;
        const lengths = Array.from({ length: count }, (_, i) => 1 + (i % 3));
        const made = plan(tokens, lengths, { padding });
        const batch = tokens.length;
        const random = new TorchGenerator(count + 1);
        const texts = random.randn([batch, made.length, width]);
        const features = random.randn([
          Math.max(
            1,
            lengths.reduce((a, b) => a + b, 0),
          ),
          width,
        ]);
        const feeds = { texts, features, index: spliceIndex(made) };
        const values = {
          texts: input("texts", texts.dims),
          features: input("features", features.dims),
          index: input("index", feeds.index.dims, "i64"),
        };
        const joined = splice(values.texts, values.features, values.index);
        const { joined: found } = evaluate({ joined }, feeds);
        const rows = found!.data;
        made.ids.forEach((ids, sequence) => {
          const texts = tokens[sequence]!.filter((id) => id !== image);
          const [from, to] = made.spans[sequence]!;
          const isText = (place: number) => made.index[sequence]![place]! < batch * made.length;
          expect(ids.filter((_, place) => place >= from && place < to && isText(place))).toEqual(texts);
        });
        made.index.flat().forEach((row, place) => {
          if (row >= batch * made.length) return;
          expect(row).toBe(place);
          const own = texts.toFloat32().slice(place * width, (place + 1) * width);
          expect([...rows.slice(place * width, (place + 1) * width)]).toEqual([...own]);
        });
        made.images.forEach(({ sequence, from, to, image: which }) => {
          const first = lengths.slice(0, which).reduce((a, b) => a + b, 0);
          expect(to - from).toBe(lengths[which]);
          const at = (sequence * made.length + from) * width;
          expect([...rows.slice(at, at + (to - from) * width)]).toEqual([
            ...features.toFloat32().slice(first * width, (first + to - from) * width),
          ]);
        });
        expect(made.index.flat().filter((row) => row >= batch * made.length).length).toBe(
          lengths.reduce((a, b) => a + b, 0),
        );
      }),
      { numRuns: 200 },
    );
  });
});
