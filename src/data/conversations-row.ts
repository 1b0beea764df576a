/** @file One row of LLaVA's JSON: what it must hold, and what it says. */

import { z } from "zod";
import { imageMark, imagesFirst, type Turn } from "../text/index.js";

const rowSchema = z.object({
  id: z.union([z.string(), z.number()]).nullish(),
  image: z.union([z.string(), z.array(z.string())]).nullish(),
  /** As other tools write it, in place of `image`. */
  images: z.union([z.string(), z.array(z.string())]).nullish(),
  conversations: z.array(z.object({ from: z.enum(["human", "gpt"]), value: z.string() })).min(1),
  /** What diffusion can be told of the picture in training; LLaVA's own files have neither. */
  caption: z.string().nullish(),
  pseudo_caption: z.string().nullish(),
});

/** A row of the file as it is. */
export type Row = z.infer<typeof rowSchema>;

/** A row, or why it is none. */
export function parseRow(bytes: Uint8Array): Row | string {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    return `it is no JSON (${(cause as Error).message})`;
  }
  const result = rowSchema.safeParse(json);
  if (!result.success) {
    const [{ path, message }] = result.error.issues as [z.core.$ZodIssue];
    const field = path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");
    return `${field.replace(/^\./, "") || "the row"}: ${message}`;
  }
  return twiceFault(result.data) ?? orderFault(result.data) ?? marksFault(result.data) ?? result.data;
}

function twiceFault({ image, images }: Row): string | undefined {
  return image != null && images != null ? "it has both `image` and `images`" : undefined;
}

/** Why the turns do not alternate; LLaVA leaves out what is said before the first question. */
function orderFault(row: Row): string | undefined {
  const turns = asked(row);
  const first = row.conversations.length - turns.length;
  const wrong = turns.findIndex(({ from }, i) => from !== (i % 2 === 0 ? "human" : "gpt"));
  if (wrong !== -1) {
    const expected = wrong % 2 === 0 ? "human" : "gpt";
    return `conversations[${first + wrong}].from: expected "${expected}" after the turn before, found "${turns[wrong]!.from}"`;
  }
  return turns.length < 2 ? "conversations: there is no question with an answer" : undefined;
}

/** Of a row without pictures, the mark is text like any other. */
function marksFault(row: Row): string | undefined {
  if (imagesOf(row).length === 0) return undefined;
  const marks = marksOf(row);
  const images = imagesOf(row).length;
  return marks === images
    ? undefined
    : `it has ${images} images and "${imageMark}" ${marks} times in its turns`;
}

function marksOf(row: Row): number {
  return asked(row).reduce((sum, { value }) => sum + value.split(imageMark).length - 1, 0);
}

/** Whether its turns show where a picture is, and it names none. */
export function lacksImages(row: Row): boolean {
  return imagesOf(row).length === 0 && marksOf(row) > 0;
}

/** The turns from the first question on; what is asked last and not answered is left out. */
function asked({ conversations }: Row): Row["conversations"] {
  const turns = conversations.slice(conversations[0]!.from === "human" ? 0 : 1);
  return turns.at(-1)?.from === "human" ? turns.slice(0, -1) : turns;
}

export function turnsOf(row: Row): Turn[] {
  const hasImages = imagesOf(row).length > 0;
  return asked(row).map(({ from, value }) => ({
    role: from === "human" ? "user" : "assistant",
    text: hasImages ? imagesFirst(value) : value,
  }));
}

export function imagesOf({ image, images }: Row): readonly string[] {
  return [image ?? images ?? []].flat();
}

export function idOf({ id }: Row): string | undefined {
  return id === null || id === undefined ? undefined : String(id);
}

/** Words of all turns, negative of text alone, as LLaVA's data set counts them. */
export function modalityLength(row: Row): number {
  const words = row.conversations.reduce((sum, { value }) => sum + (value.match(/\S+/g)?.length ?? 0), 0);
  return Math.max(words, 1) * (imagesOf(row).length > 0 ? 1 : -1);
}
