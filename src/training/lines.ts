/** @file What the lines of stores say and ask of their pictures. */

import { z } from "zod";

const questionSchema = z.object({
  pattern: z.string(),
  question: z.string(),
  options: z.tuple([z.string(), z.string()]),
  answer: z.union([z.literal(0), z.literal(1)]),
});

/** A question with two options, of which `answer` is right. */
export type Question = z.infer<typeof questionSchema>;

/** How a question is asked that names its options, or none: "which way? left or right?" */
export const askedText = (question: string, options: readonly string[]): string =>
  options.length === 0 ? question : `${question} ${options.join(" or ")}?`;

/** The line of a row of features; rows of one pair are twins. */
export const askedSchema = z.object({
  questions: z.array(questionSchema),
  pair: z.number().int().optional(),
  /** Rules of combinations that training never shows, which this row breaks. */
  unseen: z.array(z.string()).optional(),
});

export type AskedRow = z.infer<typeof askedSchema>;

/** The line of a picture in a store of scenes: what features and prompts are made from. */
export const sceneSchema = askedSchema.extend({
  captions: z.object({ loose: z.string(), full: z.string() }),
});

export type SceneLine = z.infer<typeof sceneSchema>;

/** The line of a row of a set of conversations. */
export const conversationSchema = z.object({
  /** Its place in the file that it comes from. */
  row: z.number().int(),
  id: z.string().optional(),
  /** Why it cannot be used: it has no turns then. */
  fault: z.string().optional(),
  /** Its pictures, as they were when they were looked at. */
  images: z.array(z.object({ path: z.string(), sha256: z.string() })),
  /** User and assistant in turn; pictures are named by `<image>`. */
  turns: z.array(z.object({ role: z.enum(["user", "assistant"]), text: z.string() })),
  /** What the row says of its pictures besides the turns. */
  caption: z.string().optional(),
  pseudoCaption: z.string().optional(),
});

export type ConversationLine = z.infer<typeof conversationSchema>;

/** The column of a store of conversations: words of each, negative of text alone, 0 of what cannot be used. */
export const wordsColumn = "words";
