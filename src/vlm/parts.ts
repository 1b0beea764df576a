/** @file Opening the parts of a vision-language model: what sees, what speaks, and how conversations are written. */

import type { Engine, EngineOptions } from "../engine/index.js";
import type { Fit } from "../image/index.js";
import type { TokenId, Tokenizer } from "../text/index.js";
import { type ModelFolder, type OpenOptions, openModel } from "../weights/index.js";
import { descriptionFile, readDescription, resolveModel } from "./description.js";
import { LanguageModel, readGenerationConfig } from "./language/index.js";
import type { LlavaConfig } from "./llava-config.js";
import { openLlava } from "./llava-open.js";
import { DescribedSight } from "./sight/described-sight.js";
import { EncoderOpener } from "./sight/encoders.js";
import { LlavaSight } from "./sight/llava-sight.js";
import type { Sight } from "./sight/sight.js";
import { checkVocabulary, readTexts, type Texts } from "./texts.js";

export interface VisionLanguageModelOptions extends OpenOptions, EngineOptions {
  /** Brings pictures to size in another way than the checkpoint says. For LLaVA; a description says it of each encoder. */
  fit?: Fit | undefined;
  /** `vicuna_v1`, `llava_llama_2` ..., or `chat` for the language model's own. Default: the checkpoint's. */
  template?: string | undefined;
  /** A LLaVA's vision encoder and language model, where its own config names what is not there. */
  vision?: string | undefined;
  language?: string | undefined;
}

/** The parts of a model that is open. */
export interface Parts extends Texts {
  engine: Engine;
  sight: Sight;
  language: LanguageModel;
  /** The tokenizer's own token of a picture, where prompts are encoded with it. */
  ownToken?: TokenId | undefined;
}

/** @throws DiffsightError CONFIG, WEIGHT_MISSING, DESCRIPTION, TEMPLATE, TOKENIZER; what opening the models that it names may raise */
export async function openParts(
  folder: ModelFolder,
  engine: Engine,
  options: VisionLanguageModelOptions,
): Promise<Parts> {
  const open = (await folder.has(descriptionFile)) ? openDescribed : openLlavaParts;
  const parts = await open(folder, engine, options);
  checkVocabulary(parts.tokenizer, parts.language.config.vocabSize, folder.source);
  return parts;
}

type OpenParts = (folder: ModelFolder, engine: Engine, options: VisionLanguageModelOptions) => Promise<Parts>;

const openLlavaParts: OpenParts = async (folder, engine, options) => {
  const llava = await openLlava(folder, options);
  const { config, checkpoint, folder: own } = llava.language;
  const generation = await readGenerationConfig(own);
  const texts = await readTexts(own, options.template);
  return {
    engine,
    sight: new LlavaSight(engine, llava, options.fit),
    language: await LanguageModel.open(config, checkpoint, { engine, ...generation }),
    ...texts,
    ownToken: ownImageToken(llava.config, texts.tokenizer),
  };
};

/**
 * The token that stands for a picture in the tokenizer of a LLaVA in transformers' layout, which such a model was taught
 * with. None where the tokenizer does not find it in a text.
 */
function ownImageToken({ imageToken }: LlavaConfig, tokenizer: Tokenizer): TokenId | undefined {
  const text = imageToken === undefined ? undefined : tokenizer.token(imageToken);
  if (text === undefined) return undefined;
  const [first, ...rest] = tokenizer.encode(text, { addSpecialTokens: false });
  return first === imageToken && rest.length === 0 ? imageToken : undefined;
}

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
    ...(await readTexts(own, options.template ?? description.template)),
  };
};
