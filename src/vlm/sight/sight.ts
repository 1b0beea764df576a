/** @file What a vision-language model sees with: pictures in, rows for the language model out. */

import type { WordMaps } from "../../diffusion/index.js";
import type { CallOptions } from "../../engine/index.js";
import type { RgbImage } from "../../image/index.js";
import type { Tensor } from "../../tensor/index.js";

/** What diffusion is told in place of what the model's description chooses. */
export interface DiffusionPrompt {
  /** "" for the empty prompt. Default: the description's. */
  prompt?: string | undefined;
  /** s of f_u + s (f_c - f_u). Default: the description's for answering. */
  guidance?: number | undefined;
  /** The cross-attentions that hear the text, as `encode` takes them. Default: the description's. */
  textLayers?: readonly string[] | undefined;
}

/** What may steer where it looks. */
export interface Steer {
  /** What is asked about the picture; without it nothing steers. */
  question?: string | undefined;
  /** For models that are steered by a caption or a pseudo-caption, whoever made it. */
  caption?: string | undefined;
  /** For every diffusion encoder, whatever its conditioning. */
  diffusion?: DiffusionPrompt | undefined;
}

/** A picture whose pixels have a name. */
export interface Picture {
  image: RgbImage;
  /** Equal pictures have equal keys. */
  key: string;
}

/** What a diffusion encoder is told. */
export interface DiffusionTold {
  /** The encoder's name. */
  encoder: string;
  /** "" when it is told nothing. */
  prompt: string;
  /** s of the features that the language model reads. */
  guidance: number;
}

/** Where a diffusion encoder looked because of the text that it was told. */
export interface DiffusionLook extends DiffusionTold {
  /** The picture as the encoder saw it. */
  image: RgbImage;
  /** Length of f_c - f_u at each place of the grid [h, w], the mean over timesteps. */
  delta: Tensor;
  /** Where each word of the prompt looked. */
  words: WordMaps;
}

export interface Sight {
  /** The language model's width. */
  readonly width: number;
  /** Rows a picture. */
  readonly tokens: number;
  /** What of the steer changes the rows: pictures that are seen alike have equal keys. */
  steered(steer: Steer): string;
  /** Of each diffusion encoder; none when there is no such encoder. */
  told(steer: Steer): DiffusionTold[];
  /** [T, width] */
  rows(picture: Picture, steer: Steer, call?: CallOptions): Promise<Tensor>;
  /** One look of each diffusion encoder that is told a text; encoders that are told nothing have none. */
  looks(picture: Picture, steer: Steer, call?: CallOptions): Promise<DiffusionLook[]>;
  /** Loads the weights now rather than when they are first needed. */
  prepare(): Promise<void>;
  release(): Promise<void>;
}
