/** @file `VisionLanguageModel`: pictures and questions in, answers out. */

import { fingerprint } from "../diffusion/index.js";
import { type CallOptions, Engine } from "../engine/index.js";
import { decodeImage, type ImageInput } from "../image/index.js";
import { longestSequence, turnsByLength } from "../models/index.js";
import { aborted, DiffsightError, misuse, type Tensor } from "../tensor/index.js";
import {
  type ChatTemplate,
  encodeWithImages,
  ignoredLabel,
  imageMark,
  imageTokenIndex,
  labelConversation,
  questionIn,
  TextStream,
  type Turn,
} from "../text/index.js";
import { openModel } from "../weights/index.js";
import { Answer } from "./answer.js";
import type { Answered, AnswerOptions, AnswerScore, Asked, AskOptions, SteerOptions } from "./asked.js";
import type { Context } from "./language/index.js";
import { openParts, type Parts, type VisionLanguageModelOptions } from "./parts.js";
import type { DiffusionLook, DiffusionTold, Picture, Steer } from "./sight/sight.js";
import { spliceParts } from "./splice.js";

/**
 * Readings that are kept, so that the next question about a picture, or the next turn, reads only what is new; that of
 * the text before the pictures is one of them.
 */
const keptReadings = 5;

export class VisionLanguageModel {
  readonly #parts: Parts;
  /** By what was read; the one used last comes last. */
  readonly #readings = new Map<string, Context>();
  /** Readings that are going on, each for all who need it. */
  readonly #reading = new Map<string, Promise<Context>>();
  #isReleased = false;

  private constructor(
    /** The id or path that it was opened with. */
    readonly source: string,
    parts: Parts,
  ) {
    this.#parts = parts;
  }

  /**
   * Opens a folder with `diffsight.json`, a LLaVA in transformers' layout or in the original one, or a hub's id of one.
   * @throws DiffsightError MODEL_MISSING, CONFIG, WEIGHT_MISSING, DESCRIPTION, TEMPLATE
   */
  static async fromPretrained(
    idOrPath: string,
    options: VisionLanguageModelOptions = {},
  ): Promise<VisionLanguageModel> {
    const folder = await openModel(idOrPath, options);
    const engine = await Engine.open(options);
    try {
      return new VisionLanguageModel(idOrPath, await openParts(folder, engine, options));
    } catch (error) {
      await engine.dispose();
      throw error;
    }
  }

  /** Loads all weights now rather than with the first question. */
  async prepare(): Promise<void> {
    await this.#parts.sight.prepare();
    await this.#parts.language.prepare();
  }

  /**
   * The answer to a question about pictures, streamed: `for await (const piece of model.ask(image, question))`.
   * @param images none, one or several; where the question names none with `<image>`, they come before it
   */
  ask(images: ImageInput | readonly ImageInput[], question: string, options: AskOptions = {}): Answer {
    if (question.trim() === "") throw misuse("QUESTION", "The question is empty.");
    const list = (Array.isArray(images) ? images : [images]) as readonly ImageInput[];
    const named = question.split(imageMark).length - 1;
    const text = named > 0 ? question : `${`${imageMark}\n`.repeat(list.length)}${question}`;
    return this.answer([{ role: "user", text }], list, options);
  }

  /**
   * What the assistant says after several turns; pictures are named by `<image>` in the texts, in order.
   * @throws when it is read: DiffsightError IMAGES when names and pictures differ in number; IMAGE_*, PROMPT, CONTEXT_LENGTH
   */
  answer(turns: readonly Turn[], images: readonly ImageInput[], options: AskOptions = {}): Answer {
    const { stop = [], system, caption, diffusion, maxTokens = 512, ...generate } = options;
    const asked: Asked = {
      turns,
      images,
      ...(system !== undefined && { system }),
      ...(caption !== undefined && { caption }),
      ...(diffusion && { diffusion }),
    };
    return new Answer(async () => {
      const { tokenizer, template, language } = this.#parts;
      const context = await this.#readQuestion(asked, { signal: generate.signal });
      try {
        const generation = language.generate(context, { ...generate, maxTokens });
        return { context, generation, tokenizer, stop: [...template.stop, ...stop], maxTokens };
      } catch (error) {
        context.release();
        throw error;
      }
    });
  }

  /**
   * The answers to several questions, a token of each at a time: weights are read once a step.
   * @throws DiffsightError as `answer` when it is read
   */
  async answerBatch(asked: readonly Asked[], options: AnswerOptions = {}): Promise<Answered[]> {
    const { tokenizer, template, language } = this.#parts;
    const { stop = [], ...generate } = options;
    const contexts: Context[] = [];
    try {
      for (const one of asked) contexts.push(await this.#readQuestion(one, { signal: generate.signal }));
      const streams = new Map<readonly number[], { stream: TextStream; text: string }>();
      const generation = language.generateBatch(contexts, {
        ...generate,
        stop: (ids) => {
          const said = streams.get(ids) ?? {
            stream: new TextStream(tokenizer, { stop: [...template.stop, ...stop] }),
            text: "",
          };
          said.text += said.stream.push(ids.at(-1)!);
          streams.set(ids, said);
          return said.stream.stopped !== undefined;
        },
      });
      for await (const _ of generation);
      return generation.ids.map((ids, i) => {
        const said = streams.get(ids);
        const text = said ? said.text + said.stream.end() : "";
        return { text, ids, finish: generation.finish[i]! };
      });
    } finally {
      for (const context of contexts) context.release();
    }
  }

  /**
   * How likely answers are: the logarithms of their tokens' probabilities, given pictures and question. Pictures that
   * are seen alike in several are read once.
   * @throws DiffsightError as `answer` when it is read; TOKENIZATION_MISMATCH when an answer's tokens cannot be told
   *   from the question's
   */
  async score(
    asked: readonly (Asked & { answer: string })[],
    call: CallOptions = {},
  ): Promise<AnswerScore[]> {
    const { tokenizer, template, language } = this.#parts;
    const texts: { after: Context; ids: readonly number[] }[] = [];
    try {
      for (const one of asked) {
        const turns = [...spoken(one), { role: "assistant" as const, text: one.answer }];
        checkImages(turns, one.images.length);
        const { ids, labels } = labelConversation(tokenizer, template, turns, {
          ownToken: this.#parts.ownToken,
          onMismatch: "error",
        });
        const start = labels.lastIndexOf(ignoredLabel) + 1;
        texts.push({ after: await this.#read(ids.slice(0, start), one, call), ids: ids.slice(start) });
      }
      const scores = await language.score(texts, call);
      return scores.map((one) => ({
        tokens: one.length,
        logProbability: one.reduce((sum, score) => sum + score, 0),
      }));
    } finally {
      for (const { after } of texts) after.release();
    }
  }

  /** What each diffusion encoder is told when this is asked; nothing of a model without one. */
  told(question: string, steer: SteerOptions = {}): DiffusionTold[] {
    return this.#parts.sight.told({ ...steer, question: questionIn(question) });
  }

  /** What of the steer changes what is seen of a picture: equal keys are seen alike. */
  steered(steer: Steer): string {
    return this.#parts.sight.steered(steer);
  }

  /**
   * Where diffusion looked because of a question: of each picture, one look of each diffusion encoder that is told a
   * text with it. What was computed for the answer is not computed again.
   */
  async explain(
    images: ImageInput | readonly ImageInput[],
    question: string,
    { signal, ...steer }: SteerOptions & CallOptions = {},
  ): Promise<DiffusionLook[][]> {
    const list = (Array.isArray(images) ? images : [images]) as readonly ImageInput[];
    const told = { ...steer, question: questionIn(question) };
    const looks: DiffusionLook[][] = [];
    for (const image of list)
      looks.push(await this.#parts.sight.looks(await pictureOf(image), told, { signal }));
    return looks;
  }

  async release(): Promise<void> {
    const { sight, language, engine } = this.#parts;
    this.#isReleased = true;
    for (const context of this.#readings.values()) context.release();
    this.#readings.clear();
    await sight.release();
    await language.release();
    await engine.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /** A question up to where the answer begins; the caller's to release. */
  async #readQuestion(asked: Asked, call: CallOptions): Promise<Context> {
    const { tokenizer, template } = this.#parts;
    const turns = spoken(asked);
    checkImages(turns, asked.images.length);
    checkHeard(template, turns);
    const ids = encodeWithImages(tokenizer, template.render(turns), { ownToken: this.#parts.ownToken });
    return this.#read(ids, asked, call);
  }

  /**
   * Reads a prompt; what was read up to its last picture is kept for the next one that begins so, and so is the text
   * before its first picture.
   */
  async #read(ids: readonly number[], asked: Asked, call: CallOptions): Promise<Context> {
    const { sight, language, template } = this.#parts;
    const { images, turns, caption, diffusion } = asked;
    const named = ids.filter((id) => id === imageTokenIndex).length;
    if (named !== images.length) {
      const what = `The template ${template.name} writes ${named} of ${images.length} pictures`;
      throw misuse("TEMPLATE", `${what}: choose another one, such as vicuna_v1.`);
    }
    this.#checkLength(ids.length - named, named * sight.tokens);
    const [first, last] = [ids.indexOf(imageTokenIndex), ids.lastIndexOf(imageTokenIndex) + 1];
    if (last === 0) return language.read([ids], call);
    const pictures = await Promise.all(images.map(pictureOf));
    const question = questionIn(turns.filter(({ role }) => role === "user").at(-1)?.text ?? "");
    const steer: Steer = { question, caption, diffusion };
    const see = async (): Promise<Tensor[]> => {
      const rows: Tensor[] = [];
      for (const picture of pictures) rows.push(await sight.rows(picture, steer, call));
      return rows;
    };
    // Where the whole text's length turns all of its tokens, what was read as part of a shorter one is of no use.
    if (turnsByLength(language.config.rope, ids.length - named + named * sight.tokens))
      return language.read(spliceParts(ids, await see()), call);
    const key = `${ids.slice(0, last).join()} ${pictures.map((one) => one.key).join()} ${sight.steered(steer)}`;
    const before = await this.#recall(key, call, async () => {
      const parts = spliceParts(ids.slice(first, last), await see());
      if (first === 0) return language.read(parts, call);
      const opening = ids.slice(0, first);
      const after = await this.#recall(opening.join(), call, () => language.read([opening], call));
      return language.read(parts, { ...call, after });
    });
    return language.read([ids.slice(last)], { ...call, after: before });
  }

  /** @throws misuse CONTEXT_LENGTH before anything is seen */
  #checkLength(text: number, pictures: number): void {
    const longest = longestSequence(this.#parts.language.config.rope);
    if (text + pictures <= longest) return;
    const parts = pictures > 0 ? ` (${text} of text, ${pictures} of pictures)` : "";
    throw misuse(
      "CONTEXT_LENGTH",
      `The question is too long: with its template it has ${text + pictures} tokens${parts}, and the language model reads ${longest}.`,
    );
  }

  /** What was read before, or is being read, or is read now; the model's, to be kept for what follows. */
  async #recall(key: string, { signal }: CallOptions, read: () => Promise<Context>): Promise<Context> {
    for (;;) {
      const known = this.#readings.get(key);
      if (known) {
        this.#keep(key, known);
        return known;
      }
      const going = this.#reading.get(key);
      if (!going) break;
      try {
        return await unlessAborted(going, signal);
      } catch (error) {
        if (signal?.aborted) throw aborted();
        // Whoever read it has left: then it is to be read for this one.
        if (!(error instanceof DiffsightError && error.code === "ABORTED")) throw error;
      }
    }
    const reading = read();
    this.#reading.set(key, reading);
    try {
      const context = await reading;
      this.#keep(key, context);
      return context;
    } finally {
      this.#reading.delete(key);
    }
  }

  #keep(key: string, context: Context): void {
    if (this.#isReleased) {
      context.release();
      return;
    }
    this.#readings.delete(key);
    this.#readings.set(key, context);
    for (const [oldest, one] of this.#readings) {
      if (this.#readings.size <= keptReadings) break;
      this.#readings.delete(oldest);
      one.release();
    }
  }
}

/** What others compute, or its end for this one as soon as the signal fires. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  if (signal.aborted) throw aborted();
  const leaving = new AbortController();
  const left = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(aborted()), { signal: leaving.signal });
  });
  try {
    return await Promise.race([work, left]);
  } finally {
    leaving.abort();
  }
}

function spoken({ turns, system }: Asked): readonly Turn[] {
  return system === undefined ? turns : [{ role: "system", text: system }, ...turns];
}

/** @throws misuse IMAGES */
function checkImages(turns: readonly Turn[], images: number): void {
  const named = turns.reduce((sum, { text }) => sum + text.split(imageMark).length - 1, 0);
  if (named !== images)
    throw misuse("IMAGES", `${images} pictures were given, ${named} are named in the text.`);
}

/** @throws misuse TEMPLATE when the template leaves out what the user says */
function checkHeard({ name, leavesOutQuestions }: ChatTemplate, turns: readonly Turn[]): void {
  const isSaid = turns.some(
    ({ role, text }) => role === "user" && text.replaceAll(imageMark, "").trim() !== "",
  );
  if (!leavesOutQuestions || !isSaid) return;
  throw misuse(
    "TEMPLATE",
    `The template ${name} writes pictures alone and would leave out the question: choose another one, such as vicuna_v1.`,
  );
}

async function pictureOf(input: ImageInput): Promise<Picture> {
  const image = await decodeImage(input);
  return { image, key: `${image.width}x${image.height}:${await fingerprint(image.data)}` };
}
