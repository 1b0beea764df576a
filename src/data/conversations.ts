/** @file Sets of conversations about pictures, in LLaVA's JSON: read row by row, whatever their size. */

import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { resolve } from "node:path";
import { decodeImage, type RgbImage } from "../image/index.js";
import { aborted, DiffsightError, failure, firstOf, misuse } from "../tensor/index.js";
import type { Turn } from "../text/index.js";
import {
  idOf,
  imagesOf,
  lacksImages,
  modalityLength,
  parseRow,
  type Row,
  turnsOf,
} from "./conversations-row.js";
import { scanRows } from "./conversations-scan.js";

export interface Conversation {
  /** Its place in the file. */
  row: number;
  id: string | undefined;
  /** Paths of its pictures, in the order of the marks in the turns; none of text alone. */
  images: readonly string[];
  /** User and assistant in turn, the assistant's last; pictures stand at the front of their turn. */
  turns: readonly Turn[];
  /** The row's fields `caption` and `pseudo_caption`. */
  caption?: string;
  pseudoCaption?: string;
}

/** A row that cannot be used, and why. */
export interface RowFault {
  row: number;
  id: string | undefined;
  reason: string;
}

export interface ConversationSetOptions {
  /** The folder that the rows' paths of images begin in. */
  images?: string;
  /** Rows that cannot be used are an error that names them (default), or left out and listed in `skipped`. */
  faulty?: "error" | "skip";
  signal?: AbortSignal;
}

/** How many faults an error names. */
const namedFaults = 5;

/** A set of conversations. Only where each row lies is held; rows are read when they are asked for. */
export class ConversationSet {
  readonly #file: number;
  readonly #faults: RowFault[];

  private constructor(
    readonly path: string,
    readonly options: Required<Pick<ConversationSetOptions, "images" | "faulty">>,
    /** Of each usable row: its place, and where its bytes lie. */
    readonly places: readonly { row: number; offset: number; bytes: number }[],
    /** Words of each conversation, below 0 of text alone: LLaVA's `modality_lengths`. */
    readonly lengths: Int32Array,
    /** Places in the file of usable rows that say `<image>` and name no picture: the mark is text like any other. */
    readonly unpictured: readonly number[],
    faults: RowFault[],
  ) {
    this.#faults = faults;
    this.#file = openSync(path, "r");
  }

  /**
   * Reads a JSON list or JSON lines once, and checks every row.
   * @throws FILE_ACCESS; DATA_CORRUPT naming rows and fields; ABORTED
   */
  static async open(path: string, options: ConversationSetOptions = {}): Promise<ConversationSet> {
    const { images = ".", faulty = "error", signal } = options;
    const places: { row: number; offset: number; bytes: number }[] = [];
    const lengths: number[] = [];
    const unpictured: number[] = [];
    const faults: RowFault[] = [];
    const known = new Map<string, boolean>();
    let row = 0;
    for await (const { offset, bytes } of scanRows(path, signal && { signal })) {
      if (signal?.aborted) throw aborted();
      const parsed = parseRow(bytes);
      const reason = typeof parsed === "string" ? parsed : missingImage(parsed, images, known);
      if (typeof parsed === "string" || reason !== undefined) {
        faults.push({ row, id: typeof parsed === "string" ? undefined : idOf(parsed), reason: reason! });
      } else {
        places.push({ row, offset, bytes: bytes.length });
        lengths.push(modalityLength(parsed));
        if (lacksImages(parsed)) unpictured.push(row);
      }
      row++;
    }
    if (faulty === "error" && faults.length > 0) throw faultsError(path, faults);
    if (places.length === 0) {
      const [first] = faults;
      const why = first ? `, the first: ${first.reason}` : "";
      throw failure("DATA_CORRUPT", `${path} has no row that can be used${why}.`);
    }
    const words = Int32Array.from(lengths);
    return new ConversationSet(path, { images, faulty }, places, words, unpictured, faults);
  }

  /** How many rows can be used. */
  get length(): number {
    return this.places.length;
  }

  /** The rows that were left out, in the order in which that was found. */
  get skipped(): readonly RowFault[] {
    return this.#faults;
  }

  /** @throws DATA_CORRUPT naming the rows of the file before this one that cannot be used */
  checkBefore(row: number): void {
    const faults = this.#faults.filter((one) => one.row < row);
    if (faults.length > 0) throw faultsError(this.path, faults);
  }

  /** @param index 0 .. length - 1 @throws misuse ROW_RANGE; DATA_CORRUPT when the file has changed */
  get(index: number): Conversation {
    const place = this.places[index];
    if (!place) throw misuse("ROW_RANGE", `Row ${index} of ${this.path}: there are 0 to ${this.length - 1}.`);
    const bytes = new Uint8Array(place.bytes);
    const read = readSync(this.#file, bytes, 0, bytes.length, place.offset);
    const parsed = read === bytes.length ? parseRow(bytes) : "the file has become shorter";
    if (typeof parsed === "string") {
      throw faultsError(this.path, [{ row: place.row, id: undefined, reason: `${parsed}; it has changed` }]);
    }
    return {
      row: place.row,
      id: idOf(parsed),
      images: imagesOf(parsed).map((image) => resolve(this.options.images, image)),
      turns: turnsOf(parsed),
      ...(parsed.caption != null && { caption: parsed.caption }),
      ...(parsed.pseudo_caption != null && { pseudoCaption: parsed.pseudo_caption }),
    };
  }

  /**
   * The pictures of a row; undefined when one of them cannot be decoded and such rows are skipped.
   * @throws DATA_CORRUPT naming the row and the picture; ABORTED
   */
  async images(index: number, { signal }: { signal?: AbortSignal } = {}): Promise<RgbImage[] | undefined> {
    const { row, id, images } = this.get(index);
    try {
      return await Promise.all(images.map((image) => decodeImage(image, signal ? { signal } : {})));
    } catch (cause) {
      if (signal?.aborted || !(cause instanceof DiffsightError)) throw cause;
      const fault = { row, id, reason: cause.message };
      if (this.options.faulty === "error") throw faultsError(this.path, [fault], cause);
      if (!this.#faults.some((one) => one.row === row)) this.#faults.push(fault);
      return undefined;
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function missingImage(row: Row, folder: string, known: Map<string, boolean>): string | undefined {
  for (const image of imagesOf(row)) {
    const path = resolve(folder, image);
    const exists = known.get(path) ?? existsSync(path);
    known.set(path, exists);
    if (!exists) return `image: there is no file ${path}`;
  }
  return undefined;
}

function faultsError(path: string, faults: readonly RowFault[], cause?: unknown): DiffsightError {
  const named = faults.map(({ row, id, reason }) => {
    return `row ${row}${id === undefined ? "" : ` (id ${JSON.stringify(id)})`}: ${reason}`;
  });
  const what = faults.length === 1 ? "A row" : `${faults.length} rows`;
  return failure(
    "DATA_CORRUPT",
    `${what} of ${path} cannot be used: ${firstOf(named, namedFaults, "; ")}.`,
    cause,
  );
}
