/**
 * @file A small convolutional network that is taught the questions on the pictures themselves: what there is to be seen.
 * A pattern that it answers is in the pixels; what frozen features lack of it, their encoder has left out.
 */

import { z } from "zod";
import type { Store } from "../../data/index.js";
import {
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
import { checkPictures, defineTask, picturesOf, roles, stacked } from "../../training/index.js";
import type { Scope } from "../../weights/index.js";
import { type HeadConfig, head, headLayout, headSchema } from "./head.js";
import { type Items, itemsOf, Reader } from "./task.js";

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
  const features = transpose(reshape(x, [batch, channels, height * width]), [0, 2, 1]);
  return head(w.at("head"), pixelsHead(config), { question, options, features });
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

  constructor(config: PixelsConfig, reference: Store) {
    this.#texts = new Reader({ ...pixelsHead(config), channels: 0 }, reference);
  }

  read(items: Items, chosen: readonly number[]): Record<string, Tensor> {
    const rows = chosen.map((i) => items.questions[i]!.row);
    return {
      ...this.#texts.read(items, chosen),
      pixels: stacked(picturesOf(items.store, rows).map(vaePixels)),
    };
  }
}

export const task = defineTask<PixelsConfig>({
  version: 1,
  config: pixelsSchema as z.ZodType<PixelsConfig>,

  initial: (config, random) => initialise(pixelsLayout(config), random),

  graph({ config, w, batch }) {
    const inputs = { ...pixelsInputs(config, batch), answers: input("answers", [batch], "i64") };
    const surprise = crossEntropy(pixelsNetwork(w, config, inputs), inputs.answers);
    const average = (of: Value) => reshape(mean(of, 0), []);
    return { inputs, loss: average(surprise), metrics: { certainty: average(exp(mul(surprise, -1))) } };
  },

  async open({ config, data }) {
    const { train, validation } = roles(data, "train", "validation");
    for (const store of [train, validation]) checkPictures(store, config.side);
    const items = { train: itemsOf(train), validation: itemsOf(validation) };
    const reader = new PixelsReader(config, train);
    return {
      train: items.train.questions.length,
      validation: items.validation.questions.length,
      batch: ({ split, rows }) => reader.read(items[split], rows),
    };
  },
});
