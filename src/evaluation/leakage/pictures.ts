/** @file Pictures with a true caption and another picture's: what a model is told, rightly and wrongly. */

import { ConversationSet } from "../../data/index.js";
import { example, type Split, World } from "../../diorama/index.js";
import type { ImageInput } from "../../image/index.js";
import { firstOf, misuse, TorchGenerator } from "../../tensor/index.js";

export interface CaptionedPicture {
  /** Its name in reports. */
  id: string;
  image: ImageInput;
  caption: string;
}

export interface ToldPicture extends CaptionedPicture {
  /** Another picture's caption. */
  mismatched: string;
}

export interface ScenePicturesOptions {
  count: number;
  split?: Split;
  caption?: "full" | "loose";
}

/** Scenes 0 .. count - 1 of the embedded world. */
export async function scenePictures({
  count,
  split = "validation",
  caption = "full",
}: ScenePicturesOptions): Promise<CaptionedPicture[]> {
  const world = await World.open();
  return Array.from({ length: count }, (_, i) => {
    const { rendering, captions } = example(world, i, { split });
    const { rgb: data, size } = rendering;
    return {
      id: `${split} ${i}`,
      image: { data, width: size, height: size, channels: 3 as const },
      caption: captions[caption],
    };
  });
}

export interface ConversationPicturesOptions {
  count: number;
  /** The folder that the rows' paths begin in. */
  images: string;
  /** Of the rows that are read for so many, those that cannot be used are an error (default), or left out. */
  faulty?: "error" | "skip";
  /** Told of what is left out. */
  onWarning?: (message: string) => void;
  signal?: AbortSignal;
}

/**
 * The first rows of a LLaVA's JSON that show one picture; what is said of it first is its caption. What is wrong with
 * later rows does not matter.
 * @throws FILE_ACCESS, DATA_CORRUPT; misuse DATA_EMPTY
 */
export async function conversationPictures(
  path: string,
  { count, images, faulty = "error", onWarning = () => {}, signal }: ConversationPicturesOptions,
): Promise<CaptionedPicture[]> {
  using set = await ConversationSet.open(path, { images, faulty: "skip", ...(signal && { signal }) });
  const found: CaptionedPicture[] = [];
  let read = 0;
  for (let i = 0; i < set.length && found.length < count; i++) {
    const { row, id, images, turns } = set.get(i);
    read = row;
    const caption = turns.find(({ role }) => role === "assistant")?.text.trim();
    if (images.length !== 1 || !caption) continue;
    found.push({ id: id ?? `row ${row}`, image: images[0]!, caption });
  }
  const needed = found.length < count ? Number.POSITIVE_INFINITY : read;
  if (faulty === "error") set.checkBefore(needed);
  const left = set.skipped.filter(({ row }) => row < needed);
  if (left.length > 0) {
    const rows = left.map(({ row, reason }) => `row ${row} (${reason})`);
    onWarning(`Of ${path} are left out: ${firstOf(rows, 3)}.`);
  }
  if (found.length === 0) throw misuse("DATA_EMPTY", `${path} has no row with one picture and a caption.`);
  return found;
}

/**
 * Gives each picture another one's caption, the same for a seed: the next in a circle of all whose caption differs.
 * @throws misuse CAPTIONS when all captions are alike
 */
export function mismatch(pictures: readonly CaptionedPicture[], seed = 0): ToldPicture[] {
  const circle = [...(new TorchGenerator(seed).randperm(pictures.length).data as BigInt64Array)].map(Number);
  const told: ToldPicture[] = [];
  for (const [at, own] of circle.entries()) {
    const picture = pictures[own]!;
    const others = [...circle.slice(at + 1), ...circle.slice(0, at)];
    const other = others.find((one) => pictures[one]!.caption !== picture.caption);
    if (other === undefined)
      throw misuse("CAPTIONS", "All captions are alike: none is wrong of another picture.");
    told[own] = { ...picture, mismatched: pictures[other]!.caption };
  }
  return told;
}
