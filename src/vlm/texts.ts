/** @file What a language model's folder says of texts: its tokenizer, and how conversations are written for it. */

import { failure, misuse } from "../tensor/index.js";
import {
  type ChatTemplate,
  type ChatTemplateContents,
  chatTemplate,
  chatTemplateFiles,
  readChatTemplate,
  readTokenizer,
  type Tokenizer,
  type TokenizerContents,
  tokenizerFiles,
} from "../text/index.js";
import type { ModelFolder } from "../weights/index.js";

export interface Texts {
  tokenizer: Tokenizer;
  template: ChatTemplate;
}

/**
 * @param name of a template, or `chat` for the folder's own; without a name the folder's own, or else Vicuna's
 * @throws DiffsightError TEMPLATE; what reading a tokenizer may raise
 */
export async function readTexts(folder: ModelFolder, name?: string): Promise<Texts> {
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

/**
 * Special tokens beyond the table are common, and never written: any other one is a tokenizer of another model.
 * @param vocabSize rows of the language model's table of embeddings
 * @throws failure TOKENIZER
 */
export function checkVocabulary(tokenizer: Tokenizer, vocabSize: number, source: string): void {
  for (let id = vocabSize; id < tokenizer.size; id++) {
    const token = tokenizer.token(id);
    if (token === undefined || tokenizer.isSpecial(id)) continue;
    throw failure(
      "TOKENIZER",
      `The tokenizer of ${source} does not belong to its language model: token ${id} (${JSON.stringify(token)}) is ` +
        `outside the table of embeddings, which has ${vocabSize}.`,
    );
  }
}
