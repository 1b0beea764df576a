/** @file Prompts with pictures as ids: where a picture belongs stands an id that no text has. */

import { misuse } from "../tensor/index.js";
import type { TokenId } from "./byte-pairs.js";
import { imageMark } from "./chat.js";
import type { TextOptions, Tokenizer } from "./tokenizer.js";

/** LLaVA's IMAGE_TOKEN_INDEX. */
export const imageTokenIndex = -200;

/**
 * Ids of a prompt, split at "<image>" as LLaVA's `tokenizer_image_token` splits it: each part is a text of its own, and
 * the special token that begins a text is there once.
 * @param imageToken what stands for a picture
 */
export function encodeWithImages(
  tokenizer: Tokenizer,
  prompt: string,
  { imageToken = imageTokenIndex, ...options }: TextOptions & { imageToken?: TokenId } = {},
): TokenId[] {
  const ids: TokenId[] = [];
  prompt.split(imageMark).forEach((part, i) => {
    if (i > 0) ids.push(imageToken);
    const own = tokenizer.encode(part, options);
    const begins =
      i > 0 && own.length > 0 && own[0] === tokenizer.start && options.addSpecialTokens !== false;
    for (const id of begins ? own.slice(1) : own) ids.push(id);
  });
  return ids;
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
