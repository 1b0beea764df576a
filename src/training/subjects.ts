/** @file Rows of stores as pictures with what is said and asked of them: scenes of the diorama, and conversations. */

import { readFile } from "node:fs/promises";
import { hashBytes, type Store } from "../data/index.js";
import { decodeImage, type RgbImage } from "../image/index.js";
import { failure } from "../tensor/index.js";
import { questionIn } from "../text/index.js";
import {
  type ConversationLine,
  conversationSchema,
  type SceneLine,
  sceneSchema,
  wordsColumn,
} from "./lines.js";
import { pictureColumn } from "./tasks/pictures.js";

export type Subject = {
  /** Of each picture: equal ones have equal names. */
  pictures: readonly string[];
  questions: readonly string[];
  /** Short and complete, where there are two. */
  captions: { loose?: string | undefined; full?: string | undefined };
  pseudoCaption?: string | undefined;
} & ({ kind: "scene"; line: SceneLine } | { kind: "conversation"; line: ConversationLine });

/** Whether a store's rows are conversations; else they are scenes. */
export const holdsConversations = (store: Store): boolean => wordsColumn in store.columns;

/** What is said and asked of a row's pictures. */
export function subjectOf(store: Store, row: number): Subject {
  if (!holdsConversations(store)) {
    const line = sceneSchema.parse(store.line(row));
    const questions = line.questions.map(({ question }) => question);
    return { kind: "scene", line, pictures: [`${row}`], questions, captions: line.captions };
  }
  const line = conversationSchema.parse(store.line(row));
  const questions = line.turns.filter(({ role }) => role === "user").map(({ text }) => questionIn(text));
  // Where a row names no caption, what is answered first is one: so it is in LLaVA's first stage.
  const caption = line.caption ?? line.turns[1]?.text;
  return {
    kind: "conversation",
    line,
    pictures: line.images.map(({ sha256 }) => sha256),
    questions,
    captions: { loose: caption, full: caption },
    pseudoCaption: line.pseudoCaption,
  };
}

/**
 * One picture of a row.
 * @throws failure IMAGE_CHANGED, FILE_UNREADABLE that name row and file; what decoding raises
 */
export async function pictureOf(store: Store, row: number, image: number): Promise<RgbImage> {
  if (!holdsConversations(store)) {
    const { data, dims } = store.row(pictureColumn, row);
    return { data: data as Uint8Array, height: dims[0]!, width: dims[1]! };
  }
  const { images, row: place } = conversationSchema.parse(store.line(row));
  const { path, sha256 } = images[image]!;
  const again = `Remove ${store.folder} to look at all pictures again.`;
  const bytes = await readFile(path).catch((cause: Error) => {
    throw failure(
      "FILE_UNREADABLE",
      `Row ${place}: ${path} cannot be read (${cause.message}). ${again}`,
      cause,
    );
  });
  if (hashBytes(bytes) !== sha256)
    throw failure(
      "IMAGE_CHANGED",
      `Row ${place}: ${path} is not the picture that was there before. ${again}`,
    );
  return decodeImage(bytes, { name: path });
}

/** Where stores of features hold tokens of one kind. */
export const featureColumn = "features";

/** A row of features: of which picture, told which of its questions. */
export interface PlannedFeature {
  row: number;
  image: number;
  question?: number;
}

/** The rows of a store of features. */
export interface FeaturePlan {
  rows: readonly PlannedFeature[];
  /** The row of features of a picture, told a question. */
  at(row: number, image: number, question?: number): number | undefined;
}

/**
 * Which rows of features there are to a store of pictures: one each, or one for each question. In conversations a picture
 * that stands in several rows has them once.
 */
export function planFeatures(pictures: Store, each: boolean): FeaturePlan {
  const planned: PlannedFeature[] = [];
  const places = new Map<string, number>();
  const known = new Map<string, number>();
  const place = (one: PlannedFeature, content: string) => {
    const at = known.get(content) ?? planned.length;
    if (at === planned.length) planned.push(one);
    known.set(content, at);
    places.set(`${one.row} ${one.image} ${one.question ?? ""}`, at);
  };
  const shared = holdsConversations(pictures);
  for (let row = 0; row < pictures.rows; row++) {
    if (!shared && !each) {
      place({ row, image: 0 }, `${row}`);
      continue;
    }
    const { pictures: names, questions } = subjectOf(pictures, row);
    for (const [image, name] of names.entries()) {
      if (!each) place({ row, image }, name);
      else
        for (const [question, text] of questions.entries())
          place({ row, image, question }, shared ? `${name} ${text}` : `${name} ${question}`);
    }
  }
  return { rows: planned, at: (row, image, question) => places.get(`${row} ${image} ${question ?? ""}`) };
}
