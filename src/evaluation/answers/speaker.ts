/**
 * @file A vision-language model that answers two-option questions from features that were made before: how likely each
 * option is as its answer, and what it says by itself.
 */

import type { Engine, Program } from "../../engine/index.js";
import { input, reshape } from "../../graph/index.js";
import type { Tensor } from "../../tensor/index.js";
import { encodeWithImages, imageMark, imageTokenIndex, labelConversation } from "../../text/index.js";
import { askedText, type Question } from "../../training/index.js";
import {
  type Context,
  EncoderOpener,
  LanguageModel,
  planSight,
  readDescription,
  readTexts,
  resolveModel,
  type StreamShape,
  spliceParts,
  type Texts,
  type VlmDescription,
} from "../../vlm/index.js";
import { type ModelFolder, openModel, Scope } from "../../weights/index.js";

/** What a model answers. */
export interface Spoken {
  /** Natural logarithm of each option's probability as the whole answer, its end included. */
  logProbabilities: readonly [number, number];
  /** Which option the greedy answer is, token by token; none when it is neither. */
  said: 0 | 1 | undefined;
}

/** A picture as it is seen for some questions. */
export interface Seen {
  /** Each encoder's tokens [1, tokens, width]. */
  streams: Readonly<Record<string, Tensor>>;
  questions: readonly Pick<Question, "question" | "options">[];
}

export interface SpeakerOptions {
  engine: Engine;
  /** Whether the question names the options, in their order. */
  options: boolean;
}

/** A question as token ids. */
interface Prompt {
  ids: readonly number[];
  /** Each option as it follows, with what ends it. */
  answers: readonly (readonly number[])[];
}

export class Speaker {
  private constructor(
    readonly language: LanguageModel,
    readonly texts: Texts,
    readonly sight: Program,
    readonly namesOptions: boolean,
  ) {}

  /**
   * @param folder with diffsight.json
   * @throws DiffsightError what opening a model throws; FUSION, WEIGHT_SHAPE when the features are not its encoders'
   */
  static async open(folder: ModelFolder, { engine, options }: SpeakerOptions): Promise<Speaker> {
    const description = await readDescription(folder);
    const { source, revision } = resolveModel(description.language.model, folder.source);
    const own = await openModel(source, { revision });
    const language = await LanguageModel.fromPretrained(source, { revision, engine });
    const width = language.config.hiddenSize;
    const shapes = await shapesOf(description, folder.source, engine);
    const plan = planSight(description, shapes, width);
    const streams = Object.entries(shapes).map(
      ([name, { tokens, width }]) => [name, input(name, [1, tokens, width])] as const,
    );
    const w = Scope.of(await folder.checkpoint(""));
    const rows = reshape(plan.rows(w, Object.fromEntries(streams)), [plan.tokens, width]);
    return new Speaker(
      language,
      await readTexts(own, description.template),
      engine.compile({ rows }),
      options,
    );
  }

  /** The answers to questions about several pictures, which are read side by side. */
  async answer(seen: readonly Seen[]): Promise<Spoken[][]> {
    const prompts = seen.map(({ questions }) => questions.map((question) => this.#prompt(question)));
    const kept: Context[] = [];
    try {
      const contexts = await this.#read(seen, prompts, kept);
      const texts = prompts.flatMap((those, i) =>
        those.flatMap(({ answers }, j) => answers.map((ids) => ({ after: contexts[i]![j]!, ids }))),
      );
      const scores = await this.language.score(texts);
      const sums = scores.map((one) => one.reduce((sum, score) => sum + score, 0));
      const said = await this.#said(contexts.flat(), prompts.flat());
      let at = 0;
      return prompts.map((those) =>
        those.map((): Spoken => {
          const i = at++;
          return { logProbabilities: [sums[2 * i]!, sums[2 * i + 1]!], said: said[i] };
        }),
      );
    } finally {
      for (const context of kept) context.release();
    }
  }

  async release(): Promise<void> {
    await this.sight.release();
    await this.language.release();
  }

  /** Contexts of all questions. What several ask of one picture is read once. @param kept gets all that is to be released */
  async #read(
    seen: readonly Seen[],
    prompts: readonly (readonly Prompt[])[],
    kept: Context[],
  ): Promise<Context[][]> {
    const { language } = this;
    const rows = await Promise.all(seen.map(async ({ streams }) => (await this.sight.run(streams)).rows!));
    const ends = prompts.map(([first]) => first!.ids.indexOf(imageTokenIndex) + 1);
    // A picture with one question is read with it at once.
    const firsts = await language.readBatch(
      prompts.map((those, i) => {
        const { ids } = those[0]!;
        return spliceParts(those.length === 1 ? ids : ids.slice(0, ends[i]), [rows[i]!]);
      }),
    );
    kept.push(...firsts);
    const contexts: Context[][] = [];
    for (const [i, those] of prompts.entries()) {
      const after = firsts[i]!;
      if (those.length === 1) {
        contexts.push([after]);
        continue;
      }
      const rests = those.map(({ ids }) => [ids.slice(ends[i])]);
      contexts.push(await language.readBatch(rests, { after }));
      kept.push(...contexts.at(-1)!);
    }
    return contexts;
  }

  /** Which option each greedy answer is. */
  async #said(contexts: readonly Context[], prompts: readonly Prompt[]): Promise<(0 | 1 | undefined)[]> {
    const ends = new Set(this.language.eosTokenIds);
    const longest = Math.max(...prompts.flatMap(({ answers }) => answers.map(({ length }) => length)));
    const generation = this.language.generateBatch(contexts, { maxTokens: longest });
    for await (const _ of generation);
    return prompts.map(({ answers }, i) => {
      const told = generation.ids[i]!.join();
      const isSaid = (ids: readonly number[]) => ids.filter((id) => !ends.has(id)).join() === told;
      return generation.finish[i] === "stop" ? ([0, 1] as const).find((k) => isSaid(answers[k]!)) : undefined;
    });
  }

  #prompt({ question, options }: Seen["questions"][number]): Prompt {
    const { tokenizer, template } = this.texts;
    const asked = askedText(question, this.namesOptions ? options : []);
    const turn = { role: "user", text: `${imageMark}\n${asked}` } as const;
    const ids = encodeWithImages(tokenizer, template.render([turn]));
    const answers = options.map((text) => {
      const turns = [turn, { role: "assistant", text } as const];
      const whole = labelConversation(tokenizer, template, turns, { onMismatch: "error" });
      return whole.ids.slice(ids.length);
    });
    return { ids, answers };
  }
}

/** Of each encoder's tokens, as its model says. */
async function shapesOf(
  { encoders }: VlmDescription,
  folder: string,
  engine: Engine,
): Promise<Record<string, StreamShape>> {
  const opener = new EncoderOpener(engine, { device: "cpu", host: "here" });
  try {
    const shapes = Object.entries(encoders).map(async ([name, encoder]) => {
      const { shape } = await opener.open(encoder, resolveModel(encoder.model, folder));
      return [name, shape] as const;
    });
    return Object.fromEntries(await Promise.all(shapes));
  } finally {
    await opener.release();
  }
}
