/**
 * @file The head that every kind of features gets: it reads a question and an option, looks twice at the features, and
 * says how well the option fits. Small and the same for all, so that what differs is what the features hold.
 */

import { z } from "zod";
import {
  add,
  attention,
  concat,
  gelu,
  input,
  layerNorm,
  linear,
  reshape,
  type Value,
} from "../../graph/index.js";
import { type Layout, LayoutBuilder } from "../../models/index.js";
import { Tensor } from "../../tensor/index.js";
import type { Scope } from "../../weights/index.js";
import { fusedProgram, fusedSchema } from "./fused.js";

const size = z.number().int().positive();

export const headSchema = z
  .strictObject({
    /** All words of questions and options; others are not read. */
    words: z.array(z.string()).min(1),
    /** Column of the stores that holds the features. */
    column: z.string().default("features"),
    /** Places in the features; of a fusion, in what comes out of it. */
    tokens: size,
    /** Numbers at each place; 0 for a head that reads the words alone. */
    channels: z.number().int().min(0),
    /** What is joined in front of the head, and how. */
    fused: fusedSchema.optional(),
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

/** One way of seeing that a head reads. */
interface HeadStream {
  stream: string;
  /** The name of its input. */
  input: string;
  tokens: number;
  channels: number;
}

/** None for a head of the words alone; "features" for one that reads a single store. */
export function streamsOf({ tokens, channels, fused }: HeadConfig): HeadStream[] {
  if (channels === 0) return [];
  if (!fused) return [{ stream: "features", input: "features", tokens, channels }];
  return Object.entries(fused.streams).map(([stream, shape]) => ({
    stream,
    input: `stream.${stream}`,
    ...shape,
  }));
}

/** Inputs of a head for so many questions. */
export function headInputs(config: HeadConfig, batch: number): Record<string, Value<"input">> {
  const { words } = config;
  return {
    question: input("question", [batch, words.length]),
    options: input("options", [batch, 2, words.length]),
    ...Object.fromEntries(
      streamsOf(config).map((one) => [one.input, input(one.input, [batch, one.tokens, one.channels])]),
    ),
  };
}

export function headLayout({ words, tokens, channels, width, hops, fused }: HeadConfig): Layout {
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
  return fused ? [...plan.build(), ...fusedProgram(fused).layout] : plan.build();
}

const dense = (x: Value, w: Scope): Value => linear(x, w.parameter("weight"), w.parameter("bias"));
const normed = (x: Value, w: Scope): Value =>
  layerNorm(x, w.parameter("weight"), w.parameter("bias"), { eps });

/** [B, T, C]: the features, or what their fusion makes of them; nothing for a head of the words alone. */
function featuresOf(
  w: Scope,
  { fused, ...config }: HeadConfig,
  inputs: Readonly<Record<string, Value>>,
): Value | undefined {
  if (!fused) return config.channels > 0 ? inputs.features : undefined;
  const given = streamsOf({ ...config, fused }).map(({ stream, input }) => [stream, inputs[input]!] as const);
  return fusedProgram(fused).fuse(w, Object.fromEntries(given));
}

/**
 * How well each option fits.
 * @param inputs as `headInputs` names them: question [B, V] and options [B, 2, V], words counted; features [B, T, C] of
 * each stream, standardised
 * @returns logits [B, 2]
 */
export function head(w: Scope, config: HeadConfig, inputs: Readonly<Record<string, Value>>): Value {
  const { words, heads, hops, width } = config;
  const [question, options] = [inputs.question!, inputs.options!];
  const features = featuresOf(w, config, inputs);
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
  const values = rows.toFloat32();
  const scaled = new Float32Array(values.length);
  for (let at = 0; at < values.length; at += channels) {
    for (let c = 0; c < channels; c++) scaled[at + c] = (values[at + c]! - mean[c]!) * factor[c]!;
  }
  return Tensor.f32(rows.dims, scaled);
}
