/** @file Learning which text belongs to which picture: CLIP, contrastively. */

import { z } from "zod";
import { clamp, exp, input, matmul, mul, transpose } from "../../graph/index.js";
import { clipPixels, readPreprocessorConfig } from "../../image/index.js";
import { clip, clipLayout, initialise, pooledIndex, readClipConfig } from "../../models/index.js";
import { Tensor, type TorchGenerator } from "../../tensor/index.js";
import { contrastiveLoss, recallAtOne } from "../losses.js";
import { defineTask, type Weights } from "../task.js";
import { configFile, jsonFile, weightsFile } from "./exported.js";
import { type NetworkJson, networkSchema } from "./networks.js";
import { checkPictures, picturesOf, roles, stacked } from "./pictures.js";
import {
  distinctCaptions,
  drawPrompt,
  openTokenizer,
  promptShares,
  textFields,
  textsOf,
  tokenizerFiles,
  tokenizerSchema,
} from "./prompts.js";

export const clipConfig = z.strictObject({
  /** CLIPModel's config.json; what the tokenizer decides (vocab_size ...) may be left out. */
  network: networkSchema(readClipConfig),
  tokenizer: tokenizerSchema,
  prompts: promptShares,
  /** How many patches of each picture are seen, drawn anew each time (FLIP, Li et al. 2023); default: all. */
  visible: z.number().int().positive().optional(),
  /** Pictures with loose captions, all distinct, among which validation looks for the right ones. */
  candidates: z.number().int().min(2).default(500),
});

export type ClipTraining = z.infer<typeof clipConfig>;

/** The logits' factor stays below 100. @see Radford et al. 2021, section 2.5 */
const largestLogitScale = Math.log(100);

/** The weights with the logits' factor as training sees it. */
function clamped(weights: Weights): Weights {
  const scale = weights.get("logit_scale")!;
  const seen = Tensor.f32(scale.dims, [Math.min(Number(scale.data[0]), largestLogitScale)]);
  return new Map(weights).set("logit_scale", seen);
}

/** The config.json of the network, with what the tokenizer decides. */
export function clipJson({ network, tokenizer }: ClipTraining): NetworkJson {
  const fields = textFields(openTokenizer(tokenizer));
  const text_config = { model_type: "clip_text_model", ...(network.text_config as NetworkJson), ...fields };
  const vision_config = { model_type: "clip_vision_model", ...(network.vision_config as NetworkJson) };
  return { architectures: ["CLIPModel"], model_type: "clip", ...network, text_config, vision_config };
}

/** The preprocessor_config.json for pictures of one size: OpenAI's colours. */
export function clipPreprocessor(side: number): Record<string, unknown> {
  const { do_resize, do_rescale, do_normalize, resample, rescale_factor, image_mean, image_std } =
    readPreprocessorConfig({});
  return {
    image_processor_type: "CLIPImageProcessor",
    do_resize,
    size: { shortest_edge: side },
    resample,
    do_center_crop: true,
    crop_size: { height: side, width: side },
    do_rescale,
    rescale_factor,
    do_normalize,
    image_mean,
    image_std,
    do_convert_rgb: true,
  };
}

/** Some patches of each picture, counted through the batch, in the pictures' order. */
function drawVisible(pictures: number, patches: number, visible: number, random: TorchGenerator): Tensor {
  const drawn = Array.from({ length: pictures }, (_, i) => {
    const order = Array.from(random.randperm(patches).data as BigInt64Array, Number);
    return order
      .slice(0, visible)
      .sort((a, b) => a - b)
      .map((patch) => i * patches + patch);
  });
  return Tensor.i64([pictures, visible], drawn.flat());
}

/** Which of a batch are right for each: those with the same text, each as much. [B, B] */
function sameTexts(texts: readonly string[]): Tensor {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  const targets = texts.flatMap((one) => texts.map((other) => (one === other ? 1 / counts.get(one)! : 0)));
  return Tensor.f32([texts.length, texts.length], targets);
}

export const task = defineTask<ClipTraining>({
  version: 1,
  config: clipConfig,

  initial: (config, random) => initialise(clipLayout(clipJson(config)), random),

  graph({ config, w, batch, split }) {
    const network = readClipConfig(clipJson(config));
    const { channels, imageSize } = network.vision;
    const hidden = split === "train" && config.visible !== undefined;
    const inputs = {
      pixels: input("pixels", [batch, channels, imageSize, imageSize]),
      ids: input("ids", [batch, config.tokenizer.length], "i64"),
      ends: input("ends", [batch], "i64"),
      targets: input("targets", [batch, batch]),
      ...(hidden && { visible: input("visible", [batch, config.visible!], "i64") }),
    };
    const { pixels, ids, ends, targets } = inputs;
    const outputs = clip(w, network, { pixels, ids, eosIndex: ends, visible: inputs.visible });
    const { imageEmbeds, textEmbeds } = outputs;
    const scale = exp(clamp(outputs.logitScale, -largestLogitScale, largestLogitScale));
    const logits = mul(matmul(imageEmbeds, transpose(textEmbeds, [1, 0])), scale);
    return {
      inputs,
      loss: contrastiveLoss(logits, targets, targets),
      metrics: { recall: recallAtOne(logits, targets), scale },
    };
  },

  validationBatch: ({ candidates }) => candidates,

  async open({ config, data }) {
    const { train, validation } = roles(data, "train", "validation");
    const { text, vision } = readClipConfig(clipJson(config));
    for (const store of [train, validation]) checkPictures(store, vision.imageSize);
    const tokenizer = openTokenizer(config.tokenizer);
    const preprocessor = readPreprocessorConfig(clipPreprocessor(vision.imageSize));
    const distinct = distinctCaptions(validation, config.candidates);
    return {
      train: train.rows,
      validation: distinct.length,
      batch({ split, rows, random }) {
        const training = split === "train";
        const store = training ? train : validation;
        const taken = training ? rows : rows.map((row) => distinct[row]!);
        const texts = taken.map((row) => {
          const said = textsOf(store, row);
          return training ? drawPrompt(said, config.prompts, random) : said.captions.loose;
        });
        const ids = texts.map((one) => tokenizer.encode(one).ids);
        const pictures = picturesOf(store, taken);
        const { visible } = config;
        return {
          pixels: stacked(pictures.map((picture) => clipPixels(picture, preprocessor))),
          ids: Tensor.i64([ids.length, tokenizer.length], ids.flat()),
          ends: Tensor.i64(
            [ids.length],
            ids.map((one) => pooledIndex(one, text)),
          ),
          targets: sameTexts(texts),
          ...(training &&
            visible !== undefined && {
              visible: drawVisible(pictures.length, vision.grid ** 2, visible, random),
            }),
        };
      },
    };
  },

  async export({ config, weights, dtype }) {
    const { imageSize } = readClipConfig(config.network).vision;
    const files = {
      "config.json": configFile(clipJson(config)),
      "model.safetensors": weightsFile(clamped(weights), dtype),
      "preprocessor_config.json": jsonFile(clipPreprocessor(imageSize)),
      ...tokenizerFiles(config.tokenizer),
    };
    return [{ name: "clip", kind: ["transformers", "CLIPModel"], files }];
  },
});
