/** @file What a language model learns of a conversation: its answers, nothing else. */

import { failure } from "../tensor/index.js";
import type { TokenId } from "./byte-pairs.js";
import type { ChatTemplate, Turn } from "./chat.js";
import { encodePrompt, encodeWithImages, type PromptOptions } from "./image-tokens.js";
import type { Tokenizer } from "./tokenizer.js";

/** The label of what the loss leaves out (LLaVA's IGNORE_INDEX, torch's default). */
export const ignoredLabel = -100;

export interface LabelOptions extends Pick<PromptOptions, "imageToken" | "ownToken"> {
  /** False when no picture is shown and "<image>" is text like any other. */
  hasImages?: boolean;
  /** Longer conversations are cut off. */
  maxLength?: number;
  /** Whether a conversation whose answers cannot be found among its tokens is an error, or masked whole (default). */
  onMismatch?: "mask" | "error";
}

export interface LabelledConversation {
  ids: TokenId[];
  /** Of each id: itself where the model is to learn it, else `ignoredLabel`. */
  labels: number[];
  /** Why everything is masked: LLaVA's "tokenization mismatch". */
  mismatch?: string;
  /** How many ids were cut off. */
  cut: number;
}

/**
 * Ids and labels of a conversation: everything is masked but the answers and what ends them. The tokens of each
 * beginning of the conversation must be the first tokens of the whole, or else nobody can say where an answer begins: then
 * the whole conversation is masked, as LLaVA does.
 * @param turns user and assistant in turn, the last one the assistant's
 * @throws misuse TEMPLATE; failure TOKENIZATION_MISMATCH when `onMismatch` is "error"
 */
export function labelConversation(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  turns: readonly Turn[],
  options: LabelOptions = {},
): LabelledConversation {
  const { imageToken, ownToken, hasImages = true } = options;
  const { maxLength = Number.POSITIVE_INFINITY, onMismatch = "mask" } = options;
  const encode = (count: number) => {
    const text = template.render(turns.slice(0, count));
    return hasImages
      ? encodeWithImages(tokenizer, text, { imageToken, ownToken })
      : encodePrompt(tokenizer, text);
  };
  const ids = encode(turns.length);
  const labels = new Array<number>(ids.length).fill(ignoredLabel);
  let mismatch = spelledMark(template, turns);
  for (let i = 0; i < turns.length && mismatch === undefined; i++) {
    if (turns[i]!.role !== "assistant") continue;
    const before = encode(i);
    const after = i === turns.length - 1 ? ids : encode(i + 1);
    if (beginsWith(ids, before) && beginsWith(ids, after)) {
      for (let at = before.length; at < after.length; at++) labels[at] = ids[at]!;
    } else {
      mismatch = `the tokens up to turn ${i} change with what follows them`;
    }
  }
  if (mismatch !== undefined) {
    if (onMismatch === "error") {
      throw failure("TOKENIZATION_MISMATCH", `The answers cannot be found among the tokens: ${mismatch}.`);
    }
    labels.fill(ignoredLabel);
  }
  const kept = Math.min(ids.length, maxLength);
  return {
    ids: ids.slice(0, kept),
    labels: labels.slice(0, kept),
    ...(mismatch !== undefined && { mismatch }),
    cut: ids.length - kept,
  };
}

function spelledMark({ name, marks }: ChatTemplate, turns: readonly Turn[]): string | undefined {
  for (const [i, { text }] of turns.entries()) {
    const mark = marks.find((mark) => text.includes(mark));
    if (mark !== undefined) return `turn ${i} spells ${JSON.stringify(mark)}, a mark of the template ${name}`;
  }
  return undefined;
}

function beginsWith(ids: readonly TokenId[], beginning: readonly TokenId[]): boolean {
  return beginning.length <= ids.length && beginning.every((id, i) => id === ids[i]);
}
