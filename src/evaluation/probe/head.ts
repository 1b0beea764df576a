/**
 * @file The head that every kind of features gets: it reads a question and an option, looks twice at the features, and
 * says how well the option fits. Small and the same for all, so that what differs is what the features hold.
 */

import { z } from "zod";
import { add, attention, concat, gelu, layerNorm, linear, reshape, type Value } from "../../graph/index.js";
import { type Layout, LayoutBuilder } from "../../models/index.js";
import { Tensor } from "../../tensor/index.js";
import type { Scope } from "../../weights/index.js";

const size = z.number().int().positive();

export const headSchema = z
  .strictObject({
    /** All words of questions and options; others are not read. */
    words: z.array(z.string()).min(1),
    /** Column of the stores that holds the features. */
    column: z.string().default("features"),
    /** Places in the features. */
    tokens: size,
    /** Numbers at each place; 0 for a head that reads the words alone. */
    channels: z.number().int().min(0),
    width: size.default(128),
    heads: size.default(8),
    hops: size.default(2),
  })
  .refine(({ width, heads }) => width % heads === 0, { message: "heads do not divide the width" });

export type HeadConfig = z.infer<typeof headSchema>;

const eps = 1e-5;

/** The words of a text that a head reads, each counted: [words]. */
export function bagOfWords(text: string, words: ReadonlyMap<string, number>): Float32Array {
  const bag = new Float32Array(words.size);
  for (const word of text.toLowerCase().match(/[a-z0-9]+/g) ?? []) {
    const at = words.get(word);
    if (at !== undefined) bag[at]!++;
  }
  return bag;
}

/** Where each word is counted. */
export function wordIndex(words: readonly string[]): Map<string, number> {
  return new Map(words.map((word, i) => [word, i]));
}

export function headLayout({ words, tokens, channels, width, hops }: HeadConfig): Layout {
  const plan = new LayoutBuilder();
  plan.linear("read.0", 2 * words.length, width);
  plan.linear("read.1", width, width);
  if (channels > 0) {
    plan.linear("see", channels, width);
    plan.add("places", [tokens, width], "weight", { kind: "normal", std: 0.02 });
    plan.linear("keys", width, width);
    plan.linear("values", width, width);
    for (let i = 0; i < hops; i++) {
      plan.norm(`hops.${i}.norm`, width);
      plan.linear(`hops.${i}.query`, width, width);
      plan.linear(`hops.${i}.out`, width, width);
    }
  }
  plan.norm("decide.norm", width);
  plan.linear("decide.0", width, width);
  plan.linear("decide.1", width, 1);
  return plan.build();
}

const dense = (x: Value, w: Scope): Value => linear(x, w.parameter("weight"), w.parameter("bias"));
const normed = (x: Value, w: Scope): Value =>
  layerNorm(x, w.parameter("weight"), w.parameter("bias"), { eps });

/**
 * How well each option fits.
 * @param question [B, V], options [B, 2, V]: words counted
 * @param features [B, T, C], standardised; not for a head of the words alone
 * @returns logits [B, 2]
 */
export function head(
  w: Scope,
  config: HeadConfig,
  { question, options, features }: { question: Value; options: Value; features?: Value | undefined },
): Value {
  const { words, heads, hops, width } = config;
  const [batch, count] = options.dims as [number, number, number];

  // 1. The question beside each option
  const asked = reshape(question, [batch, 1, words.length]);
  const both = concat([concat([asked, asked], 1), options], 2);
  let state = dense(gelu(dense(both, w.at("read", 0))), w.at("read", 1));

  // 2. Where in the features is it?
  if (features) {
    const seen = gelu(add(dense(features, w.at("see")), w.parameter("places")));
    const [keys, values] = [dense(seen, w.at("keys")), dense(seen, w.at("values"))];
    for (let i = 0; i < hops; i++) {
      const hop = w.at("hops", i);
      const query = dense(normed(state, hop.at("norm")), hop.at("query"));
      const found = attention(query, keys, values, { heads, scale: 1 / Math.sqrt(width / heads) });
      state = add(state, dense(found, hop.at("out")));
    }
  }

  // 3. Does it fit?
  const decided = gelu(dense(normed(state, w.at("decide", "norm")), w.at("decide", 0)));
  return reshape(dense(decided, w.at("decide", 1)), [batch, count]);
}

/** Mean and deviation of each channel, by which features are brought to one scale. */
export interface ChannelScale {
  mean: Float32Array;
  deviation: Float32Array;
}

/** @param rows features [N, T, C] */
export function channelScale(rows: Tensor): ChannelScale {
  const channels = rows.dims.at(-1)!;
  const values = rows.toFloat32();
  const places = values.length / channels;
  const [sum, squares] = [new Float64Array(channels), new Float64Array(channels)];
  for (let i = 0; i < values.length; i++) {
    sum[i % channels]! += values[i]!;
    squares[i % channels]! += values[i]! ** 2;
  }
  const mean = Float32Array.from(sum, (total) => total / places);
  const deviation = Float32Array.from(squares, (total, c) =>
    Math.sqrt(Math.max(0, total / places - (sum[c]! / places) ** 2)),
  );
  return { mean, deviation };
}

/** Below this a channel says nothing, and is left as small as it is. */
const leastDeviation = 1e-4;

/** Features of any leading shape, each channel with mean 0 and deviation 1. */
export function standardised(rows: Tensor, { mean, deviation }: ChannelScale): Tensor {
  const channels = mean.length;
  const factor = deviation.map((one) => 1 / (one + leastDeviation));
  return Tensor.f32(
    rows.dims,
    rows.toFloat32().map((value, i) => (value - mean[i % channels]!) * factor[i % channels]!),
  );
}
