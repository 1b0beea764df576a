/** @file Finds the rows of a large JSON file, a list of objects or an object a line, without holding the file. */

import { createReadStream } from "node:fs";
import { failure } from "../tensor/index.js";

/** One object of the file. */
export interface ScannedRow {
  /** Where it begins in the file, in bytes. */
  offset: number;
  bytes: Uint8Array;
}

/** A row without an end would fill the memory. */
const longestRow = 2 ** 26;

const [space, comma, open, close] = [" ", ",", "[", "]"].map((sign) => sign.charCodeAt(0)) as number[];
const [quote, backslash, openObject, closeObject] = ['"', "\\", "{", "}"].map((sign) =>
  sign.charCodeAt(0),
) as number[];
const byteOrderMark = [0xef, 0xbb, 0xbf];

/**
 * The objects of a JSON list, or of JSON lines, in order.
 * @throws FILE_ACCESS; DATA_CORRUPT naming the row and the byte where the file is neither
 */
export async function* scanRows(
  path: string,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<ScannedRow> {
  const stream = createReadStream(path, { highWaterMark: 1 << 20, ...(signal && { signal }) });
  const scan = new Scan(path);
  try {
    for await (const chunk of stream) yield* scan.push(chunk as Uint8Array);
  } catch (cause) {
    if (!(cause instanceof Error) || !("errno" in cause)) throw cause;
    throw failure("FILE_ACCESS", `${path} could not be read: ${cause.message}.`, cause);
  }
  scan.end();
}

/** The objects of bytes that are there already. @throws DATA_CORRUPT */
export function* scanBytes(chunks: Iterable<Uint8Array>, name: string): Generator<ScannedRow> {
  const scan = new Scan(name);
  for (const chunk of chunks) yield* scan.push(chunk);
  scan.end();
}

class Scan {
  #at = 0;
  #row = 0;
  /** Braces and brackets that are open in the row. */
  #depth = 0;
  #inText = false;
  #escaped = false;
  /** Before anything, in a list, after it, or among lines. */
  #place: "start" | "list" | "after" | "lines" = "start";
  #start = 0;
  #parts: Uint8Array[] = [];
  #length = 0;

  constructor(readonly path: string) {}

  *push(chunk: Uint8Array): Generator<ScannedRow> {
    let from = 0;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (this.#depth === 0) {
        if (byte === openObject) {
          this.#begin(this.#at + i);
          from = i;
        } else this.#between(byte, this.#at + i);
      } else if (this.#inText) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === backslash) this.#escaped = true;
        else if (byte === quote) this.#inText = false;
      } else if (byte === quote) this.#inText = true;
      else if (byte === openObject || byte === open) this.#depth++;
      else if ((byte === closeObject || byte === close) && --this.#depth === 0) {
        this.#keep(chunk.subarray(from, i + 1));
        yield {
          offset: this.#start,
          bytes: this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts),
        };
        this.#row++;
        this.#parts = [];
        this.#length = 0;
      }
    }
    if (this.#depth > 0) this.#keep(chunk.subarray(from));
    this.#at += chunk.length;
  }

  end(): void {
    if (this.#depth > 0) throw this.#corrupt(`it ends in the middle of row ${this.#row}`);
    if (this.#place === "list") throw this.#corrupt(`its list has no end after ${this.#row} rows`);
    if (this.#place === "start") throw this.#corrupt("it is empty");
  }

  #begin(at: number): void {
    if (this.#place === "after") throw this.#corrupt(`something follows the list at byte ${at}`);
    if (this.#place === "start") this.#place = "lines";
    this.#depth = 1;
    this.#start = at;
  }

  #between(byte: number, at: number): void {
    if (byte === space || (byte >= 9 && byte <= 13)) return;
    if (this.#place === "start" && byte === byteOrderMark[at]) return;
    if (this.#place === "start" && byte === open) this.#place = "list";
    else if (this.#place === "list" && byte === close) this.#place = "after";
    else if (this.#place !== "list" || byte !== comma) {
      const found = JSON.stringify(String.fromCharCode(byte));
      throw this.#corrupt(`byte ${at}, before row ${this.#row}, is ${found} where an object should begin`);
    }
  }

  #keep(part: Uint8Array): void {
    this.#length += part.length;
    if (this.#length > longestRow) {
      throw this.#corrupt(
        `row ${this.#row}, from byte ${this.#start} on, has no end within ${longestRow} bytes`,
      );
    }
    this.#parts.push(part);
  }

  #corrupt(problem: string): Error {
    return failure("DATA_CORRUPT", `${this.path} is no list of JSON objects: ${problem}.`);
  }
}
