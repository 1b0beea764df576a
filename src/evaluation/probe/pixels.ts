/**
 * @file A small convolutional network that is taught the questions on the pictures themselves, and beside them the facts of
 * each place: what there is to be seen.
 * A pattern that it answers is in the pixels; what frozen features lack of it, their encoder has left out.
 */

import { z } from "zod";
import {
  add,
  conv2d,
  crossEntropy,
  exp,
  groupNorm,
  input,
  mean,
  mul,
  reshape,
  silu,
  transpose,
  type Value,
} from "../../graph/index.js";
import { vaePixels } from "../../image/index.js";
import { downsample, initialise, type Layout, LayoutBuilder, resnetBlock } from "../../models/index.js";
import type { Tensor } from "../../tensor/index.js";
import { checkColumn, checkPictures, defineTask, picturesOf, roles, stacked } from "../../training/index.js";
import type { Scope } from "../../weights/index.js";
import { addFacts, factInputs, factsLoss, maskColumn, readFacts } from "./facts.js";
import { type HeadConfig, head, headLayout, headSchema } from "./head.js";
import { type Items, itemsOf } from "./items.js";
import { Reader } from "./task.js";

const size = z.number().int().positive();

export const pixelsSchema = z.strictObject({
  /** All words of questions and options. */
  words: z.array(z.string()).min(1),
  /** Pixels a side. */
  side: size.default(64),
  /** Channels of each level, each half as fine as the one before it; the first at half the picture's side. */
  channels: z.array(size).min(1).default([24, 48, 96]),
  /** Residual blocks of each level. */
  blocks: size.default(2),
  /** Groups of the norms: a divisor of every level's channels. */
  groups: size.default(8),
  /** How much the facts of each place count beside the questions while it learns; 0 for questions alone. */
  facts: z.number().min(0).default(1),
});

export type PixelsConfig = z.infer<typeof pixelsSchema>;

/** The head that reads the last level. */
export function pixelsHead({ words, side, channels }: PixelsConfig): HeadConfig {
  const grid = side / 2 ** channels.length;
  return headSchema.parse({ words, tokens: grid * grid, channels: channels.at(-1)! });
}

export function pixelsLayout(config: PixelsConfig): Layout {
  const plan = new LayoutBuilder();
  const { channels, blocks } = config;
  plan.conv("conv_in", 3, channels[0]!);
  channels.forEach((to, level) => {
    const from = channels[Math.max(0, level - 1)]!;
    if (level > 0) plan.conv(`levels.${level}.downsample.conv`, from, from);
    for (let i = 0; i < blocks; i++)
      plan.resnet(`levels.${level}.blocks.${i}`, { from: i === 0 ? from : to, to });
  });
  plan.norm("norm_out", channels.at(-1)!);
  if (config.facts > 0) addFacts(plan, channels.at(-1)!);
  const own = plan.build();
  const of = headLayout(pixelsHead(config)).map((one) => ({ ...one, key: `head.${one.key}` }));
  return [...own, ...of];
}

/** pixels [B, 3, S, S] in [-1, 1], question [B, V], options [B, 2, V] -> logits [B, 2] */
export function pixelsNetwork(
  w: Scope,
  config: PixelsConfig,
  { pixels, question, options }: Record<"pixels" | "question" | "options", Value>,
): Value {
  const features = pixelsFeatures(w, config, pixels);
  return head(w.at("head"), pixelsHead(config), { question, options, features });
}

/** pixels [B, 3, S, S] -> [B, T, C], place by place */
function pixelsFeatures(w: Scope, config: PixelsConfig, pixels: Value): Value {
  const norm = { groups: config.groups, eps: 1e-5 };
  const stem = w.at("conv_in");
  let x: Value = conv2d(pixels, stem.parameter("weight"), stem.parameter("bias"), { stride: 2, padding: 1 });
  config.channels.forEach((_, level) => {
    const at = w.at("levels", level);
    if (level > 0) x = downsample(at.at("downsample"), x, 1);
    for (let i = 0; i < config.blocks; i++) x = resnetBlock(at.at("blocks", i), x, undefined, norm);
  });
  const last = w.at("norm_out");
  x = silu(groupNorm(x, last.parameter("weight"), last.parameter("bias"), norm));
  const [batch, channels, height, width] = x.dims as [number, number, number, number];
  return transpose(reshape(x, [batch, channels, height * width]), [0, 2, 1]);
}

/** Inputs for so many questions. */
export function pixelsInputs({ words, side }: PixelsConfig, batch: number) {
  return {
    pixels: input("pixels", [batch, 3, side, side]),
    question: input("question", [batch, words.length]),
    options: input("options", [batch, 2, words.length]),
  };
}

/** Makes the network's inputs of questions. */
export class PixelsReader {
  readonly #texts: Reader;

  constructor(config: PixelsConfig) {
    this.#texts = new Reader({ ...pixelsHead(config), channels: 0 }, {});
  }

  read(items: Items, chosen: readonly number[]): Record<string, Tensor> {
    const rows = chosen.map((i) => items.questions[i]!.row);
    return {
      ...this.#texts.texts(items, chosen),
      pixels: stacked(picturesOf(items.store, rows).map(vaePixels)),
    };
  }
}

export const task = defineTask<PixelsConfig>({
  version: 2,
  config: pixelsSchema as z.ZodType<PixelsConfig>,

  initial: (config, random) => initialise(pixelsLayout(config), random),

  graph({ config, w, batch }) {
    const asked = { ...pixelsInputs(config, batch), answers: input("answers", [batch], "i64") };
    const features = pixelsFeatures(w, config, asked.pixels);
    const logits = head(w.at("head"), pixelsHead(config), { ...asked, features });
    const surprise = crossEntropy(logits, asked.answers);
    const average = (of: Value) => reshape(mean(of, 0), []);
    const metrics = { certainty: average(exp(mul(surprise, -1))) };
    if (config.facts === 0) return { inputs: asked, loss: average(surprise), metrics };
    const told = factInputs(batch, features.dims[1]!);
    const facts = factsLoss(w, features, told);
    const loss = add(average(surprise), mul(facts, config.facts));
    return { inputs: { ...asked, ...told }, loss, metrics: { ...metrics, facts } };
  },

  async open({ config, data }) {
    const { train, validation } = roles(data, "train", "validation");
    const { side, facts } = config;
    const { tokens } = pixelsHead(config);
    for (const store of [train, validation]) {
      checkPictures(store, side);
      if (facts > 0) checkColumn(store, maskColumn, ["u8"], [side, side]);
    }
    const items = { train: itemsOf(train), validation: itemsOf(validation) };
    const reader = new PixelsReader(config);
    return {
      train: items.train.questions.length,
      validation: items.validation.questions.length,
      batch({ split, rows }) {
        const { store, questions } = items[split];
        const pictures = rows.map((i) => questions[i]!.row);
        return {
          ...reader.read(items[split], rows),
          ...(facts > 0 && readFacts(store, pictures, { side, grid: Math.sqrt(tokens) })),
        };
      },
    };
  },
});
