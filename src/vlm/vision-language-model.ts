/** @file `VisionLanguageModel`: pictures and questions in, answers out. */

import { fingerprint } from "../diffusion/index.js";
import { type CallOptions, Engine, type EngineOptions } from "../engine/index.js";
import { decodeImage, type Fit, type ImageInput } from "../image/index.js";
import { misuse, type Tensor } from "../tensor/index.js";
import {
  type ChatTemplate,
  type ChatTemplateContents,
  chatTemplate,
  chatTemplateFiles,
  encodeWithImages,
  imageMark,
  imageTokenIndex,
  readChatTemplate,
  readTokenizer,
  type Tokenizer,
  type TokenizerContents,
  type Turn,
  tokenizerFiles,
} from "../text/index.js";
import { type ModelFolder, type OpenOptions, openModel } from "../weights/index.js";
import { Answer } from "./answer.js";
import { descriptionFile, readDescription, resolveModel } from "./description.js";
import { type Context, endTokens, type GenerateOptions, LanguageModel } from "./language/index.js";
import { openLlava } from "./llava-open.js";
import { DescribedSight } from "./sight/described-sight.js";
import { EncoderOpener } from "./sight/encoders.js";
import { LlavaSight } from "./sight/llava-sight.js";
import type { Picture, Sight } from "./sight/sight.js";
import { spliceParts } from "./splice.js";

export interface VisionLanguageModelOptions extends OpenOptions, EngineOptions {
  /** Brings pictures to size in another way than the checkpoint says. For LLaVA; a description says it of each encoder. */
  fit?: Fit | undefined;
  /** `vicuna_v1`, `llava_llama_2` ..., or `chat` for the language model's own. Default: the checkpoint's. */
  template?: string | undefined;
  /** A LLaVA's vision encoder and language model, where its own config names what is not there. */
  vision?: string | undefined;
  language?: string | undefined;
}

export interface AskOptions extends Omit<GenerateOptions, "stop" | "keepContext"> {
  /** Texts that end the answer, beside those of the template; they are not part of it. */
  stop?: readonly string[];
  /** In place of the template's own words at the beginning. */
  system?: string;
  /** For models that are steered by a description of the picture. */
  caption?: string;
}

/** The parts of a model that is open. */
interface Parts {
  engine: Engine;
  sight: Sight;
  language: LanguageModel;
  tokenizer: Tokenizer;
  template: ChatTemplate;
}

/** Readings that are kept, so that the next question about a picture, or the next turn, reads only what is new. */
const keptReadings = 4;

export class VisionLanguageModel {
  readonly #parts: Parts;
  readonly #readings = new Map<string, Context>();

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
      const open = (await folder.has(descriptionFile)) ? openDescribed : openLlavaParts;
      return new VisionLanguageModel(idOrPath, await open(folder, engine, options));
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
    const { stop = [], system, caption, ...generate } = options;
    return new Answer(async () => {
      const { tokenizer, template, language } = this.#parts;
      const spoken = system === undefined ? turns : [{ role: "system" as const, text: system }, ...turns];
      const named = spoken.reduce((sum, { text }) => sum + text.split(imageMark).length - 1, 0);
      if (named !== images.length)
        throw misuse("IMAGES", `${images.length} pictures were given, ${named} are named in the text.`);
      const call = { signal: generate.signal };
      const asked = turns.filter(({ role }) => role === "user").at(-1)?.text ?? "";
      const question = asked.replaceAll(imageMark, " ").replace(/\s+/g, " ").trim();
      const context = await this.#read(template.render(spoken), images, { question, caption }, call);
      const generation = language.generate(context, generate);
      return { generation, tokenizer, stop: [...template.stop, ...stop] };
    });
  }

  async release(): Promise<void> {
    const { sight, language, engine } = this.#parts;
    for (const context of this.#readings.values()) context.release();
    await sight.release();
    await language.release();
    await engine.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /** Reads a prompt; what was read up to its last picture is kept for the next one that begins so. */
  async #read(
    prompt: string,
    images: readonly ImageInput[],
    steer: { question: string; caption: string | undefined },
    call: CallOptions,
  ): Promise<Context> {
    const { sight, language, tokenizer } = this.#parts;
    const ids = encodeWithImages(tokenizer, prompt);
    const pictures = await Promise.all(images.map(pictureOf));
    const last = ids.lastIndexOf(imageTokenIndex) + 1;
    const key = `${ids.slice(0, last).join()} ${pictures.map((one) => one.key).join()} ${sight.steered(steer)}`;
    const rest = ids.slice(last);
    if (last === 0) return language.read([rest], call);
    let before = this.#readings.get(key);
    if (!before) {
      const rows: Tensor[] = [];
      for (const picture of pictures) rows.push(await sight.rows(picture, steer, call));
      before = await language.read(spliceParts(ids.slice(0, last), rows), call);
    }
    this.#keep(key, before);
    return language.read([rest], { ...call, after: before });
  }

  #keep(key: string, context: Context): void {
    this.#readings.delete(key);
    this.#readings.set(key, context);
    for (const [oldest, one] of this.#readings) {
      if (this.#readings.size <= keptReadings) break;
      this.#readings.delete(oldest);
      one.release();
    }
  }
}

async function pictureOf(input: ImageInput): Promise<Picture> {
  const image = await decodeImage(input);
  return { image, key: `${image.width}x${image.height}:${await fingerprint(image.data)}` };
}

type OpenParts = (folder: ModelFolder, engine: Engine, options: VisionLanguageModelOptions) => Promise<Parts>;

const openLlavaParts: OpenParts = async (folder, engine, options) => {
  const llava = await openLlava(folder, options);
  const { config, checkpoint, folder: own } = llava.language;
  const eosTokenIds = await endTokens(own);
  return {
    engine,
    sight: new LlavaSight(engine, llava, options.fit),
    language: await LanguageModel.open(config, checkpoint, { engine, eosTokenIds }),
    ...(await textOf(own, options.template)),
  };
};

const openDescribed: OpenParts = async (folder, engine, options) => {
  const description = await readDescription(folder);
  const locate = (model: Parameters<typeof resolveModel>[0]) => resolveModel(model, folder.source);
  const { source, revision } = locate(description.language.model);
  const own = await openModel(source, { ...options, revision });
  const language = await LanguageModel.fromPretrained(source, { ...options, revision, engine });
  const opener = new EncoderOpener(engine, options);
  return {
    engine,
    sight: await DescribedSight.open(description, await folder.checkpoint(""), language.config.hiddenSize, {
      engine,
      opener,
      locate,
    }),
    language,
    ...(await textOf(own, options.template ?? description.template)),
  };
};

/** The tokenizer, and how conversations are written: as asked for, as the folder says, or as Vicuna was taught. */
async function textOf(
  folder: ModelFolder,
  name: string | undefined,
): Promise<Pick<Parts, "tokenizer" | "template">> {
  const contents: Record<string, Uint8Array> = {};
  for (const file of tokenizerFiles) if (await folder.has(file)) contents[file] = await folder.bytes(file);
  const tokenizer = await readTokenizer(contents as TokenizerContents);
  if (name !== undefined && name !== "chat") return { tokenizer, template: chatTemplate(name) };
  const texts: Record<string, string> = {};
  for (const file of chatTemplateFiles) if (await folder.has(file)) texts[file] = await folder.text(file);
  const own = await readChatTemplate(texts as ChatTemplateContents);
  if (!own && name === "chat") throw misuse("TEMPLATE", `${folder.source} has no chat template.`);
  return { tokenizer, template: own ?? chatTemplate("vicuna_v1") };
}
