/**
 * @file Image features in the place of image tokens. When answering, parts of a prompt; in training, a plan in whole
 * numbers for several sequences with several images each, then one gather in the graph.
 */

import { concat, gather, reshape, type Value } from "../graph/index.js";
import { misuse, Tensor } from "../tensor/index.js";
import { ignoredLabel, imageTokenIndex, type TokenId } from "../text/index.js";
import type { Prompt } from "./language/index.js";

/**
 * A prompt as its language model reads it.
 * @param ids with one id for each image, from `encodeWithImages`
 * @param images each image's features [tokens, hidden_size]
 * @throws misuse SPLICE when image tokens and images do not agree in number
 */
export function spliceParts(
  ids: readonly TokenId[],
  images: readonly Tensor[],
  imageToken: TokenId = imageTokenIndex,
): Prompt {
  checkImages(ids, images.length, imageToken);
  const parts: (TokenId[] | Tensor)[] = [];
  let text: TokenId[] = [];
  let image = 0;
  for (const id of ids) {
    if (id === imageToken) {
      parts.push(text, images[image++]!);
      text = [];
    } else text.push(id);
  }
  return [...parts, text].filter((part) => part instanceof Tensor || part.length > 0);
}

function checkImages(ids: readonly TokenId[], images: number, imageToken: TokenId): void {
  const named = ids.filter((id) => id === imageToken).length;
  if (named === images) return;
  throw misuse("SPLICE", `${named} image tokens and ${images} images do not belong together.`);
}

export interface SpliceOptions {
  /** The id that stands for an image: each is replaced by all of its image's tokens. Default LLaVA's, -200. */
  imageToken?: TokenId;
  /** How many tokens each image has, in the order in which the sequences name them. */
  imageLengths: readonly number[];
  /** Takes the place of what is not text. Default 0. */
  padToken?: number;
  /** Side of the padding: the right one for training, the left one for generation. Default `right`. */
  padding?: "left" | "right";
  /** Longer sequences are cut off, as LLaVA does. Default: no limit. */
  maxLength?: number | undefined;
  /** What each token of each sequence should be followed by; images get `ignoredLabel`, and so does padding. */
  labels?: readonly (readonly number[])[] | undefined;
  /** All sequences at least this long; they are never padded to less than the longest. */
  minLength?: number;
}

export interface SplicePlan {
  /** Tokens a sequence. */
  length: number;
  /** Tokens of text, sequence by sequence; `padToken` where an image or padding is. */
  ids: number[][];
  /** Where each row comes from: below B·T a row of the texts' embeddings, from there on a row of the features. */
  index: number[][];
  /** Where each sequence's own tokens lie: [from, to). */
  spans: [number, number][];
  /** Where each image's tokens lie; an image that was cut off whole has none. */
  images: { sequence: number; image: number; from: number; to: number }[];
  /** Which images have lost tokens to `maxLength`. */
  cut: number[];
  labels: number[][] | undefined;
}

/**
 * Plans where every row of the spliced sequences comes from.
 * @throws misuse SPLICE when image tokens and images do not agree in number, or labels and tokens in length
 */
export function planSplice(sequences: readonly (readonly number[])[], options: SpliceOptions): SplicePlan {
  const {
    imageLengths,
    imageToken = imageTokenIndex,
    labels,
    maxLength = Number.POSITIVE_INFINITY,
    minLength = 0,
  } = options;
  const { padding = "right", padToken = 0 } = options;
  checkImages(sequences.flat(), imageLengths.length, imageToken);

  // 1. Each sequence by itself: a token of text is its id, one of an image its row among all features
  let image = 0;
  let row = 0;
  const cut: number[] = [];
  const whole = sequences.map((tokens, sequence) => {
    const given = labels?.[sequence];
    if (labels && given?.length !== tokens.length) {
      throw misuse(
        "SPLICE",
        `Sequence ${sequence} has ${tokens.length} tokens and ${given?.length ?? 0} labels.`,
      );
    }
    const rows: { id?: number; feature?: number; image?: number; label: number }[] = [];
    for (const [i, id] of tokens.entries()) {
      if (id !== imageToken) {
        rows.push({ id, label: given?.[i] ?? ignoredLabel });
        continue;
      }
      const length = imageLengths[image]!;
      for (let k = 0; k < length; k++) rows.push({ feature: row++, image, label: ignoredLabel });
      if (rows.length > maxLength) cut.push(image);
      image++;
    }
    return rows.slice(0, maxLength);
  });

  // 2. All of one length
  const length = Math.max(minLength, ...whole.map((rows) => rows.length));
  const texts = sequences.length * length;
  const plan: SplicePlan = {
    length,
    ids: [],
    index: [],
    spans: [],
    images: [],
    cut,
    labels: labels && [],
  };
  for (const [sequence, rows] of whole.entries()) {
    const from = padding === "right" ? 0 : length - rows.length;
    const blank = (value: number) => new Array<number>(length).fill(value);
    const ids = blank(padToken);
    const index = Array.from({ length }, (_, place) => sequence * length + place);
    const targets = blank(ignoredLabel);
    for (const [i, { id, feature, image: of, label }] of rows.entries()) {
      targets[from + i] = label;
      if (id !== undefined) ids[from + i] = id;
      if (feature === undefined) continue;
      index[from + i] = texts + feature;
      const last = plan.images.at(-1);
      if (last?.image === of) last!.to++;
      else plan.images.push({ sequence, image: of!, from: from + i, to: from + i + 1 });
    }
    plan.ids.push(ids);
    plan.index.push(index);
    plan.spans.push([from, from + rows.length]);
    plan.labels?.push(targets);
  }
  return plan;
}

/** The plan's index as a graph takes it: i64 [B, T] */
export function spliceIndex({ index, length }: SplicePlan): Tensor {
  return Tensor.i64([index.length, length], index.flat());
}

/**
 * Text embeddings with image features in the place of image tokens; gradients flow into both.
 * @param texts [B, T, C], the embeddings of the plan's ids
 * @param features rows of all images, one after another: [..., C]
 * @param index [B, T] (i64), from `spliceIndex`
 * @returns [B, T, C]
 */
export function splice(texts: Value, features: Value, index: Value): Value {
  const width = texts.dims.at(-1)!;
  return gather(concat([reshape(texts, [-1, width]), reshape(features, [-1, width])], 0), index);
}
