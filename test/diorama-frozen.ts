/** @file What is frozen of the world's test questions, and how it is hashed. */

import { createHash } from "node:crypto";
import {
  captions,
  type Pattern,
  questions,
  type Renderer,
  type Split,
  sceneOf,
  twinExample,
  twinPatterns,
  twinsOf,
} from "../src/diorama/index.js";

/** Draws that were taken, where that was not the first. */
export type Retries = Record<string, number>;

export interface FrozenTwins {
  pairs: number;
  retries: Retries;
  questions: string;
}

export interface Frozen {
  seed: 0;
  /** Scenes 0 .. count - 1 of the split test, with all that could be asked of them. */
  scenes: { count: number; retries: Retries; questions: string };
  /** Twins 0 .. pairs - 1 of each pattern. */
  twins: { test: Partial<Record<Pattern, FrozenTwins>>; unseen: Partial<Record<Pattern, FrozenTwins>> };
  /** Pictures and masks of the first so many twins of each pattern. */
  pictures: { each: number; hash: string };
}

/** SHA-256 over questions, options, answers and captions; nothing is rendered. */
export function questionHash(
  split: Split,
  pattern: Pattern | undefined,
  count: number,
  retries: Retries,
): string {
  const hash = createHash("sha256");
  for (let i = 0; i < count; i++) {
    const attempt = retries[i] ?? 0;
    if (pattern === undefined) {
      const scene = sceneOf(i, { split }, attempt);
      hash.update(JSON.stringify([questions(scene), captions(scene)]));
    } else {
      const { scenes, question, answers } = twinsOf(i, { split, pattern }, attempt);
      hash.update(JSON.stringify([question, answers, scenes.map(captions)]));
    }
  }
  return hash.digest("hex");
}

/** SHA-256 over pictures and masks. */
export function pictureHash(world: Renderer, each: number): string {
  const hash = createHash("sha256");
  for (const split of ["test", "unseen"] as const) {
    for (const pattern of twinPatterns(split)) {
      for (let i = 0; i < each; i++) {
        for (const { rgb, mask } of twinExample(world, i, { split, pattern }).renderings)
          hash.update(rgb).update(mask);
      }
    }
  }
  return hash.digest("hex");
}
