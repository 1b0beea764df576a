/** @file What is said of a picture: captions and questions of a store's lines, mixed, as token ids. */

import { z } from "zod";
import type { Store } from "../../data/index.js";
import { vocabulary } from "../../diorama/index.js";
import { failure, misuse, type TorchGenerator } from "../../tensor/index.js";
import {
  type ClipTokenizer,
  type ClipVocabularyFiles,
  clipTokenizer,
  clipVocabulary,
} from "../../text/index.js";

/** The words that a tokenizer is made for; `diorama` stands for all that is ever said in that world. */
export const tokenizerSchema = z.strictObject({
  words: z.union([z.literal("diorama"), z.array(z.string()).min(1)]),
  /** `model_max_length` */
  length: z.number().int().min(2).default(32),
  padding: z.string().default("<|endoftext|>"),
});

/** The files of a config's tokenizer. */
export function tokenizerFiles({ words, ...options }: z.infer<typeof tokenizerSchema>): ClipVocabularyFiles {
  return clipVocabulary(words === "diorama" ? vocabulary : words, options);
}

/** What a text encoder's config must say to fit a tokenizer. */
export function textFields(tokenizer: ClipTokenizer): Record<string, number> {
  return {
    vocab_size: tokenizer.size,
    max_position_embeddings: tokenizer.length,
    bos_token_id: tokenizer.start,
    eos_token_id: tokenizer.end,
    pad_token_id: tokenizer.padding,
  };
}

export const openTokenizer = (config: z.infer<typeof tokenizerSchema>): ClipTokenizer =>
  clipTokenizer(tokenizerFiles(config));

const share = z.number().min(0).max(1).default(0);

/** How often each kind of text is shown with a picture. */
export const promptShares = z
  .strictObject({
    /** Everything that the picture's questions ask for. */
    full: share,
    /** What people would write. */
    loose: share,
    /** One of the picture's questions, without its answer. */
    question: share,
    /** No text. */
    empty: share,
  })
  .refine((shares) => Math.abs(Object.values(shares).reduce((sum, one) => sum + one, 0) - 1) < 1e-9, {
    message: "the shares do not add up to 1",
  });

export type PromptShares = z.infer<typeof promptShares>;

const lineSchema = z.object({
  captions: z.object({ loose: z.string(), full: z.string() }),
  questions: z.array(z.object({ question: z.string() })).default([]),
});

/** What is said of one picture. */
export type PictureTexts = z.infer<typeof lineSchema>;

/** @throws DiffsightError STORE_LINE when a store's line holds no captions */
export function textsOf(store: Store, row: number): PictureTexts {
  const { success, data, error } = lineSchema.safeParse(store.line(row));
  if (success) return data;
  const [issue] = error.issues;
  throw failure(
    "STORE_LINE",
    `${store.folder}: row ${row} says nothing of its picture: ${issue!.path.join(".")}: ${issue!.message}`,
  );
}

/** One text of a picture; a picture without questions gives its full caption in their place. */
export function drawPrompt(texts: PictureTexts, shares: PromptShares, random: TorchGenerator): string {
  const [kind, which] = random.rand([2], "f64").data as Float64Array;
  const { loose, full } = texts.captions;
  const questions = texts.questions.map(({ question }) => question);
  let rest = kind!;
  if ((rest -= shares.empty) < 0) return "";
  if ((rest -= shares.loose) < 0) return loose;
  if ((rest -= shares.question) < 0) return questions[Math.floor(which! * questions.length)] ?? full;
  return full;
}

/**
 * The first rows whose loose captions are all distinct.
 * @throws DiffsightError CANDIDATES when there are not that many
 */
export function distinctCaptions(store: Store, count: number): number[] {
  const rows: number[] = [];
  const seen = new Set<string>();
  for (let row = 0; row < store.rows && rows.length < count; row++) {
    const { loose } = textsOf(store, row).captions;
    if (!seen.has(loose)) rows.push(row);
    seen.add(loose);
  }
  if (rows.length < count) {
    throw misuse("CANDIDATES", `${store.folder} has ${rows.length} distinct loose captions, not ${count}.`);
  }
  return rows;
}
