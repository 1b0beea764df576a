/** @file Conversations as what a language model trains on: ids, labels, batches. */

import { failure } from "../tensor/index.js";
import {
  type ChatTemplate,
  ignoredLabel,
  imageTokenIndex,
  type LabelledConversation,
  type LabelOptions,
  labelConversation,
  type TokenId,
  type Tokenizer,
} from "../text/index.js";
import type { ConversationSet } from "./conversations.js";

export interface ConversationSample extends LabelledConversation {
  /** The row's place in its file. */
  row: number;
  /** Paths of its pictures, one for each image token that was not cut off. */
  images: readonly string[];
}

/** What became of the samples that were made. */
export interface SampleReport {
  made: number;
  /** Rows all of whose labels are masked because their answers could not be found among the tokens. */
  masked: readonly { row: number; reason: string }[];
  /** Rows that were longer than the model takes. */
  cut: readonly number[];
}

/** Makes samples of a set's rows and counts what is lost on the way. */
export class ConversationSamples {
  readonly #masked: { row: number; reason: string }[] = [];
  readonly #cut: number[] = [];
  readonly #seen = new Set<number>();

  /** @param options `onMismatch: "error"` makes an error of a row that would be masked */
  constructor(
    readonly set: ConversationSet,
    readonly tokenizer: Tokenizer,
    readonly template: ChatTemplate,
    readonly options: LabelOptions = {},
  ) {}

  /** @throws failure TOKENIZATION_MISMATCH naming the row, and what `ConversationSet.get` throws */
  get(index: number): ConversationSample {
    const { row, images, turns } = this.set.get(index);
    const { onMismatch, ...options } = this.options;
    const hasImages = images.length > 0;
    const labelled = labelConversation(this.tokenizer, this.template, turns, { ...options, hasImages });
    if (labelled.mismatch !== undefined && onMismatch === "error") {
      throw failure("TOKENIZATION_MISMATCH", `Row ${row} of ${this.set.path}: ${labelled.mismatch}.`);
    }
    if (!this.#seen.has(row)) {
      this.#seen.add(row);
      if (labelled.mismatch !== undefined) this.#masked.push({ row, reason: labelled.mismatch });
      if (labelled.cut > 0) this.#cut.push(row);
    }
    const { imageToken = imageTokenIndex } = options;
    const shown = labelled.ids.filter((id) => id === imageToken).length;
    return { ...labelled, row, images: images.slice(0, shown) };
  }

  /** About the rows that were asked for so far, each counted once. */
  get report(): SampleReport {
    return { made: this.#seen.size, masked: this.#masked, cut: this.#cut };
  }
}

/** Samples side by side, all as long as the longest. */
export interface SampleBatch {
  ids: TokenId[][];
  labels: number[][];
  /** 1 where a token is, 0 where padding is. */
  attentionMask: number[][];
  /** Of all samples, in order. */
  images: string[];
}

/** Pads on the right, as LLaVA trains; the mask follows the lengths, so that the padding id may occur in texts too. */
export function collate(samples: readonly ConversationSample[], padding: TokenId): SampleBatch {
  const length = samples.reduce((longest, { ids }) => Math.max(longest, ids.length), 0);
  const padded = (values: readonly number[], filler: number) => [
    ...values,
    ...new Array<number>(length - values.length).fill(filler),
  ];
  return {
    ids: samples.map(({ ids }) => padded(ids, padding)),
    labels: samples.map(({ labels }) => padded(labels, ignoredLabel)),
    attentionMask: samples.map(({ ids }) => padded(new Array<number>(ids.length).fill(1), 0)),
    images: samples.flatMap(({ images }) => images),
  };
}
