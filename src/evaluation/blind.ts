/** @file CLIP-blind pairs: pictures that CLIP takes for the same although they differ. */

import { readFile } from "node:fs/promises";
import { relative, resolve } from "node:path";
import type { Store } from "../data/index.js";
import type { Pattern } from "../diorama/index.js";
import { misuse, type Tensor } from "../tensor/index.js";
import { askedSchema, featureColumn } from "../training/index.js";
import { modelPath } from "../weights/index.js";
import { cosine } from "./similarity.js";

export interface BlindPair {
  pair: number;
  pattern: string;
  /** Cosine of the two pictures' embeddings. */
  similarity: number;
  /** Share of pixels that differ visibly. */
  changed: number;
  blind: boolean;
}

export interface BlindOptions {
  /** Cosine above which CLIP takes two pictures for the same; MMVP's 0.95. */
  threshold?: number;
  /** Least share of pixels that must differ. */
  leastChange?: number;
}

/** Pixels count as changed when a channel differs by more than this of 255. */
const visible = 24;

/** Share of pixels that differ visibly between two pictures of one size, [H, W, 3] each. */
export function changedPixels(one: ArrayLike<number>, other: ArrayLike<number>): number {
  if (one.length !== other.length || one.length === 0 || one.length % 3 !== 0) {
    throw misuse("SHAPE", `Pictures of ${one.length} and ${other.length} bytes cannot be compared.`);
  }
  let changed = 0;
  for (let i = 0; i < one.length; i += 3) {
    const most = Math.max(
      Math.abs(one[i]! - other[i]!),
      Math.abs(one[i + 1]! - other[i + 1]!),
      Math.abs(one[i + 2]! - other[i + 2]!),
    );
    changed += Number(most > visible);
  }
  return (3 * changed) / one.length;
}

/**
 * Which twins CLIP is blind to.
 * @param pairs embeddings and pictures of both, with what differs
 * @see Tong et al. 2024, Eyes Wide Shut: cosine of CLIP above 0.95; where they ask DINOv2 for a difference, pixels tell
 */
export function blindPairs(
  pairs: Iterable<{
    pair: number;
    pattern: string;
    embeddings: readonly [Tensor, Tensor];
    pictures: readonly [ArrayLike<number>, ArrayLike<number>];
  }>,
  { threshold = 0.95, leastChange = 0.01 }: BlindOptions = {},
): BlindPair[] {
  return [...pairs].map(({ pair, pattern, embeddings, pictures }) => {
    const similarity = cosine(...embeddings);
    const changed = changedPixels(...pictures);
    return { pair, pattern, similarity, changed, blind: similarity > threshold && changed >= leastChange };
  });
}

/**
 * Which twins of a store a CLIP is blind to.
 * @param pictures two rows a pair, one after the other
 * @param embedded the pictures' embeddings, row by row
 */
export function twinsBlindTo(pictures: Store, embedded: Store, options?: BlindOptions): BlindPair[] {
  const bytesOf = (row: number) => pictures.row("rgb", row).data as Uint8Array;
  const pairs = Array.from({ length: pictures.rows / 2 }, (_, i) => {
    const [one, other] = [2 * i, 2 * i + 1];
    const { pair, questions } = askedSchema.parse(pictures.line(one));
    return {
      pair: pair!,
      pattern: questions[0]!.pattern,
      embeddings: [embedded.row(featureColumn, one), embedded.row(featureColumn, other)] as const,
      pictures: [bytesOf(one), bytesOf(other)] as const,
    };
  });
  return blindPairs(pairs, options);
}

/** Twins of the embedded world that its CLIP is blind to: by split and pattern, their numbers among so many tried. */
export type FrozenBlind = Record<
  "validation" | "test",
  Partial<Record<Pattern, { tried: number; pairs: number[] }>>
>;

/** The twins of a split that the package's CLIP is blind to, by pattern. */
export async function frozenBlind(
  split: keyof FrozenBlind,
): Promise<Partial<Record<Pattern, readonly number[]>>> {
  const file = new URL("../../assets/diorama/blind.json", import.meta.url);
  const frozen = JSON.parse(await readFile(file, "utf8")) as FrozenBlind;
  return Object.fromEntries(Object.entries(frozen[split]).map(([pattern, { pairs }]) => [pattern, pairs]));
}

/** With fewer pairs of a pattern it is a trial run, to which no others are added. */
const fewPairs = 100;

/**
 * Twins that are judged beside the first ones of each pattern, because the package's CLIP is blind to them; none of
 * another CLIP, and none in a trial run.
 * @param clip the folder of the CLIP whose blindness counts
 * @param pairs twins of each pattern
 */
export async function moreBlind(
  clip: string | undefined,
  pairs: number,
  tuning: boolean,
): Promise<Awaited<ReturnType<typeof frozenBlind>> | undefined> {
  if (clip === undefined || pairs < fewPairs) return undefined;
  if (relative(resolve(modelPath(clip)), modelPath("embedded:clip")) !== "") return undefined;
  return frozenBlind(tuning ? "validation" : "test");
}
