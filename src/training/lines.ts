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
