/** @file Questions as a vision-language model takes them, and what it gives back. */

import type { ImageInput } from "../image/index.js";
import type { Turn } from "../text/index.js";
import type { Finish, GenerateOptions } from "./language/index.js";
import type { DiffusionPrompt } from "./sight/sight.js";

/** What steers a model beside the question. */
export interface SteerOptions {
  /** For models that are steered by a caption of the picture, or by a pseudo-caption: whoever made it. */
  caption?: string;
  /** What diffusion is told in place of what the model's description chooses. */
  diffusion?: DiffusionPrompt;
}

/** How answers are made. */
export interface AnswerOptions extends Omit<GenerateOptions, "stop" | "keepContext"> {
  /** Texts that end the answer, beside those of the template; they are not part of it. */
  stop?: readonly string[];
}

export interface AskOptions extends AnswerOptions, SteerOptions {
  /** In place of the template's own words at the beginning. */
  system?: string;
}

/** One of several questions that are answered side by side. */
export interface Asked extends SteerOptions {
  /** The user's last; pictures are named by `<image>` in the texts. */
  turns: readonly Turn[];
  images: readonly ImageInput[];
  system?: string;
}

/** What was said, whole. */
export interface Answered {
  text: string;
  ids: readonly number[];
  finish: Finish;
}

/** How likely an answer is. */
export interface AnswerScore {
  /** Of the answer and of what ends it: those that training counts. */
  tokens: number;
  /** Sum of their natural logarithms. */
  logProbability: number;
}
