/** @file Teaching a head to answer from frozen features: a task of the training loop. */

import type { z } from "zod";
import type { Store, Stores } from "../../data/index.js";
import { crossEntropy, input, mean, reshape } from "../../graph/index.js";
import { initialise } from "../../models/index.js";
import { failure, formatDims, misuse, Tensor } from "../../tensor/index.js";
import { type AskedRow, askedSchema, defineTask, type Question } from "../../training/index.js";
import {
  bagOfWords,
  type ChannelScale,
  channelScale,
  type HeadConfig,
  head,
  headLayout,
  headSchema,
  standardised,
  wordIndex,
} from "./head.js";

/** Rows that tell how large the features are. */
const scaleRows = 512;

/** A store's questions, one after another: several may be about one row. */
export interface Items {
  store: Store;
  questions: readonly { row: number; question: Question; line: AskedRow }[];
}

/** @throws DiffsightError STORE_LINE when a line holds no questions */
export function itemsOf(store: Store): Items {
  const questions: Items["questions"][number][] = [];
  for (let row = 0; row < store.rows; row++) {
    const { success, data } = askedSchema.safeParse(store.line(row));
    if (!success) throw failure("STORE_LINE", `${store.folder}: row ${row} asks nothing.`);
    for (const question of data.questions) questions.push({ row, question, line: data });
  }
  if (questions.length === 0) throw misuse("DATA_EMPTY", `${store.folder} holds no question.`);
  return { store, questions };
}

/** Makes a head's inputs of questions. */
export class Reader {
  readonly #words: ReadonlyMap<string, number>;
  readonly #scale: ChannelScale | undefined;

  /** @param reference the store whose first rows say how large the features are: the one of training */
  constructor(
    readonly config: HeadConfig,
    reference: Store,
  ) {
    this.#words = wordIndex(config.words);
    if (config.channels === 0) return;
    const rows = Array.from({ length: Math.min(scaleRows, reference.rows) }, (_, i) => i);
    this.#scale = channelScale(reference.gather(config.column, rows));
  }

  read({ store, questions }: Items, chosen: readonly number[]): Record<string, Tensor> {
    const { words } = this.config;
    const taken = chosen.map((i) => questions[i]!);
    const bags = (texts: readonly string[]) => {
      const all = new Float32Array(texts.length * words.length);
      texts.forEach((text, i) => {
        all.set(bagOfWords(text, this.#words), i * words.length);
      });
      return all;
    };
    const inputs: Record<string, Tensor> = {
      question: Tensor.f32(
        [taken.length, words.length],
        bags(taken.map(({ question }) => question.question)),
      ),
      options: Tensor.f32(
        [taken.length, 2, words.length],
        bags(taken.flatMap(({ question }) => question.options)),
      ),
      answers: Tensor.i64(
        [taken.length],
        taken.map(({ question }) => question.answer),
      ),
    };
    if (this.#scale) {
      const rows = taken.map(({ row }) => row);
      inputs.features = standardised(store.gather(this.config.column, rows), this.#scale);
    }
    return inputs;
  }
}

/** Inputs of a head for so many questions. */
export function headInputs({ words, tokens, channels }: HeadConfig, batch: number) {
  return {
    question: input("question", [batch, words.length]),
    options: input("options", [batch, 2, words.length]),
    ...(channels > 0 && { features: input("features", [batch, tokens, channels]) }),
  };
}

function stores(data: Stores, { column, tokens, channels }: HeadConfig): { train: Store; validation: Store } {
  const { train, validation } = data;
  if (!train || !validation) throw misuse("DATA_MISSING", "A probe needs data: train and validation.");
  for (const store of channels > 0 ? [train, validation] : []) {
    const found = store.columns[column]?.dims;
    if (`${found}` === `${[tokens, channels]}`) continue;
    const dims = found ? formatDims(found) : "nothing";
    throw misuse(
      "STORE_COLUMN",
      `${store.folder}: ${column} is ${dims}, the head reads [${tokens}, ${channels}].`,
    );
  }
  return { train, validation };
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

  async open({ config, data }) {
    const { train, validation } = stores(data, config);
    const items = { train: itemsOf(train), validation: itemsOf(validation) };
    const reader = new Reader(config, train);
    return {
      train: items.train.questions.length,
      validation: items.validation.questions.length,
      batch: ({ split, rows }) => reader.read(items[split], rows),
    };
  },
});
