/** @file Prompts with pictures as ids: where a picture belongs stands an id that no text has. */

import { misuse } from "../tensor/index.js";
import type { TokenId } from "./byte-pairs.js";
import { imageMark } from "./chat.js";
import type { TextOptions, Tokenizer } from "./tokenizer.js";

/** LLaVA's IMAGE_TOKEN_INDEX. */
export const imageTokenIndex = -200;

export interface PromptOptions extends TextOptions {
  /** What stands for a picture among the ids. */
  imageToken?: TokenId | undefined;
  /** The tokenizer's own token of a picture, for models that were taught with it. */
  ownToken?: TokenId | undefined;
}

/**
 * Ids of a prompt with pictures. With `ownToken` it is one text, in which that token stands for each picture, as
 * transformers' processors have it. Without, it is split at "<image>" as LLaVA's `tokenizer_image_token` splits it: each
 * part is a text of its own, and the special tokens around a text are there once. A prompt that begins with the token
 * which begins a text has all its special tokens: none are added.
 */
export function encodeWithImages(
  tokenizer: Tokenizer,
  prompt: string,
  { imageToken = imageTokenIndex, ownToken, addSpecialTokens }: PromptOptions = {},
): TokenId[] {
  const specials = { addSpecialTokens: addSpecialTokens ?? !beginsItself(tokenizer, prompt) };
  const own = ownToken === undefined ? undefined : tokenizer.token(ownToken);
  if (own !== undefined) {
    const ids = tokenizer.encode(
      prompt.replaceAll(imageMark, () => own),
      specials,
    );
    return ids.map((id) => (id === ownToken ? imageToken : id));
  }
  const parts = prompt.split(imageMark).map((part) => tokenizer.encode(part, { addSpecialTokens: false }));
  const ids = parts.flatMap((part, i) => (i === 0 ? part : [imageToken, ...part]));
  return specials.addSpecialTokens ? tokenizer.surround(ids) : ids;
}

/** Ids of a prompt without pictures, in which "<image>" is text like any other. */
export function encodePrompt(tokenizer: Tokenizer, prompt: string): TokenId[] {
  return tokenizer.encode(prompt, { addSpecialTokens: !beginsItself(tokenizer, prompt) });
}

/** Whether the template has written the token that begins a text. */
function beginsItself(tokenizer: Tokenizer, prompt: string): boolean {
  const text = tokenizer.start === undefined ? undefined : tokenizer.token(tokenizer.start);
  return text !== undefined && prompt.startsWith(text);
}

/**
 * The ids as transformers' processors write them: the image token as often as the picture has features.
 * @param counts features of each picture, in order
 * @throws misuse IMAGE_TOKENS when there are more or fewer image tokens than pictures
 */
export function expandImageTokens(
  ids: readonly TokenId[],
  imageToken: TokenId,
  counts: readonly number[],
): TokenId[] {
  const named = ids.filter((id) => id === imageToken).length;
  if (named !== counts.length) {
    throw misuse(
      "IMAGE_TOKENS",
      `${named} image tokens and ${counts.length} pictures do not belong together.`,
    );
  }
  let image = 0;
  return ids.flatMap((id) =>
    id === imageToken ? new Array<TokenId>(counts[image++]!).fill(imageToken) : [id],
  );
}
