/** @file Teaching a head to answer from frozen features: a task of the training loop. */

import type { z } from "zod";
import type { Store, Stores } from "../../data/index.js";
import { crossEntropy, input, mean, reshape } from "../../graph/index.js";
import { initialise } from "../../models/index.js";
import { formatDims, misuse, Tensor } from "../../tensor/index.js";
import { defineTask } from "../../training/index.js";
import { isStatistic, picturesToWhiten, whiteningOf } from "../../vlm/index.js";
import { fusedProgram } from "./fused.js";
import {
  bagOfWords,
  type ChannelScale,
  channelScale,
  type HeadConfig,
  head,
  headInputs,
  headLayout,
  headSchema,
  standardised,
  streamsOf,
  wordIndex,
} from "./head.js";
import { type Items, Sources } from "./items.js";

/** Rows that tell how large the features are. */
const scaleRows = 512;

/** Makes a head's inputs of questions. */
export class Reader {
  readonly #words: ReadonlyMap<string, number>;
  /** By stream, with the name of its input. */
  readonly #streams: { stream: string; input: string; scale: ChannelScale | undefined }[];

  /** @param reference stores by stream, whose first rows say how large the features are: those of training */
  constructor(
    readonly config: HeadConfig,
    reference: Readonly<Record<string, Store>>,
  ) {
    const { words, column, fused } = config;
    this.#words = wordIndex(words);
    const scaledAs = fused ? fusedProgram(fused).scaledAs : {};
    this.#streams = streamsOf(config).map(({ stream, input }) => {
      if (fused?.raw) return { stream, input, scale: undefined };
      const store = reference[scaledAs[stream] ?? stream]!;
      const rows = Array.from({ length: Math.min(scaleRows, store.rows) }, (_, i) => i);
      return { stream, input, scale: channelScale(store.gather(column, rows)) };
    });
  }

  read(sources: Sources, chosen: readonly number[]): Record<string, Tensor> {
    const inputs = this.texts(sources.items, chosen);
    for (const { stream, input, scale } of this.#streams) {
      const features = sources.features(stream, this.config.column, chosen);
      inputs[input] = scale ? standardised(features, scale) : features.to("f32");
    }
    return inputs;
  }

  /** What is asked alone. */
  texts({ questions }: Items, chosen: readonly number[]): Record<string, Tensor> {
    const { words } = this.config;
    const taken = chosen.map((i) => questions[i]!.question);
    const bags = (texts: readonly string[]) => {
      const all = new Float32Array(texts.length * words.length);
      texts.forEach((text, i) => {
        all.set(bagOfWords(text, this.#words), i * words.length);
      });
      return all;
    };
    const count = taken.length;
    return {
      question: Tensor.f32([count, words.length], bags(taken.map(({ question }) => question))),
      options: Tensor.f32([count, 2, words.length], bags(taken.flatMap(({ options }) => options))),
      answers: Tensor.i64(
        [count],
        taken.map(({ answer }) => answer),
      ),
    };
  }
}

/**
 * The stores of one split by stream: they play the roles "train" and "validation", for a fusion "train-<stream>" and
 * "validation-<stream>".
 * @throws misuse DATA_MISSING, STORE_COLUMN
 */
function storesOf(data: Stores, config: HeadConfig, split: "train" | "validation"): Record<string, Store> {
  const { tokens, channels, fused } = config;
  const wanted = fused ? streamsOf(config) : [{ stream: "features", tokens, channels }];
  const found = wanted.map(({ stream, tokens, channels }) => {
    const role = fused ? `${split}-${stream}` : split;
    const store = data[role];
    if (!store) throw misuse("DATA_MISSING", `A probe needs data: ${role} is missing.`);
    const dims = store.columns[config.column]?.dims;
    if (channels > 0 && `${dims}` !== `${[tokens, channels]}`) {
      const is = dims ? formatDims(dims) : "nothing";
      const reads = `the head reads [${tokens}, ${channels}]`;
      throw misuse("STORE_COLUMN", `${store.folder}: ${config.column} is ${is}, ${reads}.`);
    }
    return [stream, store] as const;
  });
  return Object.fromEntries(found);
}

export const task = defineTask<HeadConfig>({
  version: 1,
  config: headSchema as z.ZodType<HeadConfig>,

  initial: (config, random) => initialise(headLayout(config), random),

  graph({ config, w, batch }) {
    const inputs = { ...headInputs(config, batch), answers: input("answers", [batch], "i64") };
    const logits = head(w, config, inputs);
    const loss = reshape(mean(crossEntropy(logits, inputs.answers), 0), []);
    return { inputs, loss, metrics: {} };
  },

  async measured({ config, data }) {
    const { fused } = config;
    const whitened = fused ? fusedProgram(fused).whitened : [];
    if (whitened.length === 0) return new Map();
    const stores = storesOf(data, config, "train");
    const sources = new Sources(stores);
    const streams = whitened.map(({ encoder }) => {
      const { tokens, channels } = fused!.streams[encoder]!;
      return { tokens, width: channels };
    });
    const chosen = picturesToWhiten(streams, sources.items.questions.length);
    const inputs = new Reader(config, stores).read(sources, chosen);
    const seen = whitened.map(({ encoder }) => [encoder, inputs[`stream.${encoder}`]!] as const);
    return whiteningOf(whitened, Object.fromEntries(seen));
  },

  rule: (key) => (isStatistic(key) ? { decay: false, scale: 0 } : {}),

  async open({ config, data }) {
    const [train, validation] = (["train", "validation"] as const).map((split) =>
      storesOf(data, config, split),
    );
    const sources = { train: new Sources(train!), validation: new Sources(validation!) };
    const reader = new Reader(config, train!);
    return {
      train: sources.train.items.questions.length,
      validation: sources.validation.items.questions.length,
      batch: ({ split, rows }) => reader.read(sources[split], rows),
    };
  },
});
