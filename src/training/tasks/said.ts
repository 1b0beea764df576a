/** @file What a language model is taught to say of a picture: its caption, or an answer to one of its questions. */

import type { TorchGenerator } from "../../tensor/index.js";
import { type ChatTemplate, imageMark, type Turn } from "../../text/index.js";
import type { SceneLine } from "../lines.js";

/** A caption alone, as LLaVA's first stage writes it; or a question with its answer. */
export interface Said {
  kind: "caption" | "answer";
  turns: Turn[];
  /** Which of the picture's questions; none of a caption. */
  question?: number;
}

/** Shares of what is said; what is left over are answers. */
export interface SaidShares {
  caption: number;
  /** Of the answers, those whose question names the two options. */
  options: number;
}

/** @param withPicture whether the text shows where the picture is */
export function drawSaid(
  { captions, questions }: SceneLine,
  shares: SaidShares,
  withPicture: boolean,
  random: TorchGenerator,
): Said {
  const [kind, which, named, order] = random.rand([4], "f64").data as Float64Array;
  const picture = withPicture ? imageMark : "";
  if (questions.length === 0 || kind! < shares.caption) {
    return {
      kind: "caption",
      turns: [
        { role: "user", text: picture },
        { role: "assistant", text: captions.full },
      ],
    };
  }
  const question = Math.floor(which! * questions.length);
  const { question: asked, options, answer } = questions[question]!;
  const shown = order! < 0.5 ? options : [options[1], options[0]];
  const text = named! < shares.options ? `${asked} ${shown.join(" or ")}?` : asked;
  return {
    kind: "answer",
    question,
    turns: [
      { role: "user", text: picture === "" ? text : `${picture}\n${text}` },
      { role: "assistant", text: options[answer] },
    ],
  };
}

/** The template in which a kind is written. */
export const templateOf = (
  { kind }: Said,
  { plain, chat }: { plain: ChatTemplate; chat: ChatTemplate },
): ChatTemplate => (kind === "caption" ? plain : chat);
