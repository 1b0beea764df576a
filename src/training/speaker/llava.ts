/** @file A trained model as transformers' `LlavaForConditionalGeneration`: for those that are one, of one vision encoder. */

import { finalSize } from "../../image/index.js";
import { readVisionEncoder, type VisionEncoder } from "../../models/index.js";
import { misuse, Tensor } from "../../tensor/index.js";
import { imageMark, readTokenizer, type TokenizerContents } from "../../text/index.js";
import {
  type EncoderDescription,
  readImageProcessor,
  resolveModel,
  type VlmDescription,
} from "../../vlm/index.js";
import { type ModelFolder, openModel } from "../../weights/index.js";
import type { ExportRequest, Weights } from "../task.js";
import { configFile, jsonFile } from "../tasks/exported.js";
import { type SpeakerTraining, seeingOf } from "./config.js";
import { type Files, languageFiles, type Shard, shardFiles } from "./files.js";

type Vision = Extract<EncoderDescription, { kind: "vision" }>;

/**
 * The folder that transformers opens: three networks in one checkpoint, the tokenizer with a token for pictures.
 * @throws misuse EXPORT that says what of the model LLaVA has no place for
 */
export async function llavaFiles(request: ExportRequest<SpeakerTraining>): Promise<Files> {
  const { config, weights, dtype } = request;
  const seeing = seeingOf(config);
  if (!seeing) throw misuse("EXPORT", "layout llava: the model sees nothing.");
  const encoder = onlyEncoder(seeing.description);
  const { source, revision } = resolveModel(encoder.model, ".");
  const folder = await openModel(source, { revision });
  const vision = readVisionEncoder(await folder.json("config.json"));
  if (vision.registers > 0) throw refuse("LLaVA takes an encoder's registers for patches");
  // "default" drops the first token, whatever it is.
  const strategy = encoder.tokens === "all" || vision.classTokens === 0 ? "full" : "default";
  const { json, texts, shards } = await languageFiles(request);
  const rows = Number(json.vocab_size);
  const { files, id } = await withImageToken(texts);
  const spoken = shards.map(
    ({ keys, read }): Shard => ({
      keys: keys.map(languageKey),
      async read() {
        const isByToken = (key: string) => /(embed_tokens|lm_head)\.weight$/.test(key);
        const tensors = [...(await read())].map(([key, tensor]): [string, Tensor] => [
          languageKey(key),
          isByToken(key) ? withMeanRows(tensor, id + 1) : tensor,
        ]);
        return new Map(tensors);
      },
    }),
  );
  return {
    "config.json": configFile({
      architectures: ["LlavaForConditionalGeneration"],
      model_type: "llava",
      image_token_index: id,
      image_seq_length: seeing.plan.tokens,
      projector_hidden_act: "gelu",
      multimodal_projector_bias: true,
      vision_feature_layer: encoder.layer,
      vision_feature_select_strategy: strategy,
      tie_word_embeddings: json.tie_word_embeddings ?? false,
      text_config: { ...json, vocab_size: Math.max(rows, id + 1) },
      vision_config: await visionConfig(folder),
      torch_dtype: dtype === "f16" ? "float16" : "float32",
    }),
    "processor_config.json": jsonFile({
      processor_class: "LlavaProcessor",
      image_token: imageMark,
      num_additional_image_tokens: vision.classTokens,
      patch_size: vision.patchSize,
      vision_feature_select_strategy: strategy,
    }),
    "preprocessor_config.json": jsonFile(await preprocessorJson(folder, vision, encoder)),
    ...files,
    ...shardFiles([...spoken, await seenShard(folder, vision, weights)], dtype),
  };
}

const refuse = (what: string) => misuse("EXPORT", `layout llava: ${what}; layout model keeps all of it.`);

function onlyEncoder({ encoders, fusion, projector }: VlmDescription): Vision {
  const [[name, encoder], ...more] = Object.entries(encoders) as [
    [string, EncoderDescription],
    ...[string, EncoderDescription][],
  ];
  if (more.length > 0) throw refuse(`LLaVA has one encoder, not ${Object.keys(encoders).join(", ")}`);
  if (encoder.kind !== "vision") throw refuse(`LLaVA has no encoder of kind ${encoder.kind} (${name})`);
  if (encoder.projector) throw refuse(`LLaVA has no projector of encoders.${name} alone`);
  if (encoder.size) throw refuse(`LLaVA sees pictures of the checkpoint's own size, not of ${encoder.size}`);
  if ([encoder.layer].flat().includes("last")) throw refuse('LLaVA takes hidden states, not "last"');
  if (encoder.tokens === "class") throw refuse("LLaVA takes patches, not the class token alone");
  const [step, ...others] = fusion;
  const plain =
    step!.type === "none" && Object.values([step!.normalisation].flat()).every((one) => one === "none");
  if (!plain || others.length > 0)
    throw refuse("LLaVA has no fusion and no normalisation before its projector");
  if (projector !== "mlp2x_gelu") throw refuse(`LLaVA's projector is mlp2x_gelu, not ${projector}`);
  return encoder;
}

/** The vision encoder's own config, also where it lies in that of a whole CLIP. */
async function visionConfig(folder: ModelFolder): Promise<object> {
  const json = await folder.json<{ model_type: string; vision_config?: object }>("config.json");
  if (!json.vision_config) return json;
  return { ...json.vision_config, model_type: `${json.model_type}_vision_model` };
}

const languageKey = (key: string) => `language_model.${key}`;

/** Trained tensors by their names in transformers. */
const projectorKeys = [
  ["model.mm_projector.0", "multi_modal_projector.linear_1"],
  ["model.mm_projector.2", "multi_modal_projector.linear_2"],
].flatMap(([own, theirs]) =>
  ["weight", "bias"].map((part) => [`${own}.${part}`, `${theirs}.${part}`] as const),
);

/**
 * The vision encoder under the keys of published files (`vision_tower.vision_model.encoder...`; DINOv2's have no such
 * root), whether or not its own file leaves the root out, as transformers 5 does; and the projector.
 */
async function seenShard(folder: ModelFolder, { kind }: VisionEncoder, weights: Weights): Promise<Shard> {
  const { entries, read } = await folder.checkpoint("");
  const used = [...entries.keys()].filter(
    (key) => !/^(text_model|text_projection|visual_projection|logit_)|position_ids$/.test(key),
  );
  const published = (key: string) => {
    const root = kind === "dinov2" || key.startsWith("vision_model.") ? "" : "vision_model.";
    return `vision_tower.${root}${key.replace(/^dinov2\./, "")}`;
  };
  return {
    keys: [...used.map(published), ...projectorKeys.map(([, theirs]) => theirs)],
    async read() {
      const found = new Map<string, Tensor>();
      for (const key of used) found.set(published(key), (await read(key)).to("f32"));
      for (const [own, theirs] of projectorKeys) found.set(theirs, weights.get(own)!);
      return found;
    },
  };
}

/** What the folder says, and its kind's defaults spelt out; with what the description's `fit` changes. */
async function preprocessorJson(folder: ModelFolder, encoder: VisionEncoder, { fit }: Vision) {
  const { config, stated } = await readImageProcessor(folder, encoder);
  const said = Object.entries(stated ?? {}).filter(([, value]) => value !== null);
  const own = {
    image_processor_type: "CLIPImageProcessor",
    ...Object.fromEntries(said),
    ...config,
    ...(config.do_pad && { do_pad: false }),
    do_center_crop: config.do_center_crop ?? false,
    processor_class: "LlavaProcessor",
  };
  if (fit === "crop") return own;
  if (fit === "pad") return { ...own, image_processor_type: "LlavaImageProcessor", do_pad: true };
  return { ...own, do_resize: true, size: finalSize(config), do_center_crop: false };
}

/** A token that stands for pictures: the tokenizer's own, or a new one behind its last. */
async function withImageToken(texts: Files): Promise<{ files: Files; id: number }> {
  const tokenizer = await readTokenizer(texts as TokenizerContents);
  const known = tokenizer.id(imageMark);
  if (known !== undefined) return { files: texts, id: known };
  const id = tokenizer.size;
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const parsed = (name: string): Record<string, unknown> => {
    const content = texts[name] as string | Uint8Array;
    return JSON.parse(typeof content === "string" ? content : new TextDecoder().decode(content));
  };
  const files = { ...texts };
  if (texts["tokenizer.json"]) {
    const json = parsed("tokenizer.json");
    const added = (json.added_tokens ?? []) as object[];
    files["tokenizer.json"] = jsonFile({
      ...json,
      added_tokens: [...added, { id, content: imageMark, ...flags }],
    });
  }
  const config = texts["tokenizer_config.json"] ? parsed("tokenizer_config.json") : {};
  const decoder = { ...(config.added_tokens_decoder as object), [id]: { content: imageMark, ...flags } };
  files["tokenizer_config.json"] = jsonFile({ ...config, added_tokens_decoder: decoder });
  return { files, id };
}

/** With fewer rows than asked, the mean of all for each that lacks: as a head's row it is never the likeliest. */
function withMeanRows(matrix: Tensor, asked: number): Tensor {
  const [rows, columns] = matrix.dims as [number, number];
  if (rows >= asked) return matrix;
  const numbers = matrix.toFloat32();
  const mean = new Float32Array(columns);
  for (let i = 0; i < numbers.length; i++) mean[i % columns]! += numbers[i]! / rows;
  const longer = new Float32Array(asked * columns);
  longer.set(numbers);
  for (let row = rows; row < asked; row++) longer.set(mean, row * columns);
  return Tensor.f32([asked, columns], longer);
}
