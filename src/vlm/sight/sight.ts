/** @file What a vision-language model sees with: pictures in, rows for the language model out. */

import type { CallOptions } from "../../engine/index.js";
import type { RgbImage } from "../../image/index.js";
import type { Tensor } from "../../tensor/index.js";

/** What may steer where it looks. */
export interface Steer {
  /** What is asked about the picture; without it nothing steers. */
  question?: string | undefined;
  /** For models that are steered by a description: given, not guessed. */
  caption?: string | undefined;
}

/** A picture whose pixels have a name. */
export interface Picture {
  image: RgbImage;
  /** Equal pictures have equal keys. */
  key: string;
}

export interface Sight {
  /** The language model's width. */
  readonly width: number;
  /** What of the steer changes the rows: pictures that are seen alike have equal keys. */
  steered(steer: Steer): string;
  /** [T, width] */
  rows(picture: Picture, steer: Steer, call?: CallOptions): Promise<Tensor>;
  /** Loads the weights now rather than when they are first needed. */
  prepare(): Promise<void>;
  release(): Promise<void>;
}
