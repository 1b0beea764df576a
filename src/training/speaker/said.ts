/**
 * @file What a language model is taught to say: a picture's caption, answers to some of a scene's questions, or a
 * conversation as it is written.
 */

import { claimOf, isClosed } from "../../diorama/index.js";
import type { TorchGenerator } from "../../tensor/index.js";
import { imageMark, type Turn } from "../../text/index.js";
import { askedText, type Question, type SceneLine } from "../lines.js";
import type { Subject } from "../subjects.js";
import type { SpeakerTraining } from "./config.js";
import type { Speech } from "./language.js";

export interface Said {
  turns: readonly Turn[];
  /** In which of the templates it is written. */
  template: "plain" | "chat";
  /** How many pictures it shows. */
  pictures: number;
  /** Which of the row's questions are asked, in this order; none of a caption. */
  questions: readonly number[];
}

/** @param withPictures whether texts show where pictures are */
export function drawSaid(
  subject: Subject,
  config: SpeakerTraining,
  withPictures: boolean,
  random: TorchGenerator,
): Said {
  if (subject.kind === "scene") return drawAboutScene(subject.line, config, withPictures, random);
  const { turns, images } = subject.line;
  return {
    turns,
    template: config.phase === "stage1" && config.template === undefined ? "plain" : "chat",
    pictures: images.length,
    questions: subject.questions.map((_, i) => i),
  };
}

function drawAboutScene(
  { captions, questions }: SceneLine,
  shares: Pick<SpeakerTraining, "captions" | "options" | "claims" | "turns">,
  withPicture: boolean,
  random: TorchGenerator,
): Said {
  const [kind, which, ...first] = uniform(random, 4);
  const picture = withPicture ? imageMark : "";
  const pictures = withPicture ? 1 : 0;
  if (questions.length === 0 || kind! < shares.captions) {
    const turns: Turn[] = [
      { role: "user", text: picture },
      { role: "assistant", text: captions.full },
    ];
    return { turns, template: "plain", pictures, questions: [] };
  }
  const asked = [Math.floor(which! * questions.length)];
  if (shares.turns > 1) {
    const order = uniform(random, questions.length);
    const others = [...questions.keys()].filter((one) => one !== asked[0]);
    asked.push(...others.sort((a, b) => order[a]! - order[b]!).slice(0, shares.turns - 1));
  }
  const turns = asked.flatMap((question, i) => {
    const chances = [
      ...(i === 0 ? first : uniform(random, 2)),
      ...(shares.claims > 0 ? uniform(random, 1) : []),
    ];
    const before = i === 0 && withPicture ? `${picture}\n` : "";
    return askedOnce(questions[question]!, shares, before, chances);
  });
  return { turns, template: "chat", pictures, questions: asked };
}

/** A question, perhaps with its options in either order or as one to be answered by yes or no, and its answer. */
function askedOnce(
  asked: Question,
  shares: Pick<SpeakerTraining, "options" | "claims">,
  before: string,
  [named, order, claimed]: readonly number[],
): Turn[] {
  const { question, options, answer } = asked;
  const said = (question: string, answer: string): Turn[] => [
    { role: "user", text: `${before}${question}` },
    { role: "assistant", text: answer },
  ];
  const isNamed = named! < shares.options;
  // Where options are not named, what yes or no can answer is answered so, and in no other way.
  if (shares.claims > 0 && (claimed! < shares.claims || (!isNamed && isClosed(asked)))) {
    const claim = claimOf(asked, order! < 0.5 ? 0 : 1);
    if (claim) return said(claim.question, claim.answer);
  }
  const shown = order! < 0.5 ? options : [options[1], options[0]];
  return said(askedText(question, isNamed ? shown : []), options[answer]);
}

/** From 0, below 1. */
const uniform = (random: TorchGenerator, count: number): number[] => [
  ...(random.rand([count], "f64").data as Float64Array),
];

/** The template that it is written in. */
export const templateOf = ({ template }: Said, speech: Speech): Speech["chat"] => speech[template];
