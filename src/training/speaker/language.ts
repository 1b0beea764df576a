/** @file What speaks: a new LLaMA with the world's own words, or a language model in a folder, read in place. */

import { claimWords, vocabulary } from "../../diorama/index.js";
import { readLanguageConfig } from "../../models/index.js";
import {
  type ChatTemplate,
  chatTemplate,
  jinjaTemplate,
  readTokenizer,
  type Tokenizer,
  type WordVocabularyFiles,
  wordVocabulary,
} from "../../text/index.js";
import { checkVocabulary, parseDescription, readTexts } from "../../vlm/index.js";
import { type Checkpoint, type ModelFolder, openModel } from "../../weights/index.js";
import type { NetworkJson } from "../tasks/networks.js";
import type { SpeakerTraining } from "./config.js";

/** Conversations as the embedded language model writes them. */
export const speakerTemplate =
  "{% for message in messages %}{% if message.role == 'user' %}USER: {{ message.content }} " +
  "{% else %}ASSISTANT: {{ message.content }}{{ eos_token }}{% endif %}{% endfor %}" +
  "{% if add_generation_prompt %}ASSISTANT:{% endif %}";

/** Of a new language model. */
export function tokenizerFilesOf({ network }: SpeakerTraining): WordVocabularyFiles {
  const length = Number(network?.max_position_embeddings ?? 2048);
  const words = [...vocabulary, ...claimWords, "user:", "assistant:"];
  return wordVocabulary(words, { length, chatTemplate: speakerTemplate, lowercase: true });
}

/** Ids of "<unk>", "<s>", "</s>", "<pad>": fixed by `wordVocabulary`. */
export const fixedIds = { bos_token_id: 1, eos_token_id: 2, pad_token_id: 3 };

/** The language model's config.json, with what the tokenizer decides. */
export function languageJson(config: SpeakerTraining): NetworkJson {
  if (!config.network) return config.found!.language!.json;
  const { model } = JSON.parse(tokenizerFilesOf(config)["tokenizer.json"]) as {
    model: { vocab: Record<string, number> };
  };
  const vocab_size = Object.keys(model.vocab).length;
  const kind = { architectures: ["LlamaForCausalLM"], model_type: "llama" };
  return { ...kind, ...config.network, vocab_size, ...fixedIds };
}

/** The language model that is read. */
export function openLanguage({ found }: SpeakerTraining): Promise<ModelFolder> {
  const { source, revision } = found!.language!;
  return openModel(source, { revision });
}

/** Its weights, below `language`. */
export async function languageCheckpoint(config: SpeakerTraining): Promise<Checkpoint | undefined> {
  if (config.network) return undefined;
  const own = await (await openLanguage(config)).checkpoint("");
  const prefix = "language.";
  return {
    ...own,
    entries: new Map([...own.entries].map(([key, entry]) => [prefix + key, entry])),
    read: (key) => own.read(key.slice(prefix.length)),
  };
}

/** How it reads and writes. */
export interface Speech {
  tokenizer: Tokenizer;
  /** For captions. */
  plain: ChatTemplate;
  /** For questions with their answers. */
  chat: ChatTemplate;
}

/** @throws failure TOKENIZER where the tokenizer is another model's; misuse TEMPLATE */
export async function speechOf(config: SpeakerTraining): Promise<Speech> {
  const plain = chatTemplate("plain");
  if (config.network) {
    const tokenizer = await readTokenizer(tokenizerFilesOf(config));
    const chat = await jinjaTemplate(speakerTemplate, { bos_token: "<s>", eos_token: "</s>" });
    return { tokenizer, plain, chat };
  }
  const folder = await openLanguage(config);
  const { template } = parseDescription(config.sight);
  const { tokenizer, template: chat } = await readTexts(folder, config.template ?? template);
  checkVocabulary(tokenizer, readLanguageConfig(languageJson(config)).vocabSize, folder.source);
  return { tokenizer, plain, chat };
}
