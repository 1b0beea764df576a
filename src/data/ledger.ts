/** @file A ledger: what of a long work is done, a line of JSON each, so that it goes on where it was cut off. */

import { closeSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { failure } from "../tensor/index.js";

export class Ledger<Entry> {
  readonly #file: number;
  readonly #entries: Entry[];
  #end: number;

  private constructor(
    readonly path: string,
    file: number,
    entries: Entry[],
    end: number,
  ) {
    this.#file = file;
    this.#entries = entries;
    this.#end = end;
  }

  /**
   * Opens or begins a ledger. What a killed writer left of its last line is cut away.
   * @throws LEDGER_CORRUPT when an earlier line is no JSON, FILE_ACCESS
   */
  static open<Entry>(path: string): Ledger<Entry> {
    let file: number;
    try {
      mkdirSync(dirname(path), { recursive: true });
      file = openSync(path, "a+");
    } catch (cause) {
      throw failure("FILE_ACCESS", `${path} could not be opened: ${(cause as Error).message}.`, cause);
    }
    const bytes = readFileSync(path);
    const end = bytes.lastIndexOf(10) + 1;
    const lines = bytes.subarray(0, end).toString("utf8").split("\n").slice(0, -1);
    const entries = lines.map((line, i): Entry => {
      try {
        return JSON.parse(line) as Entry;
      } catch (cause) {
        closeSync(file);
        throw failure(
          "LEDGER_CORRUPT",
          `${path}: line ${i + 1} is no JSON. Remove the file to begin anew.`,
          cause,
        );
      }
    });
    if (end < bytes.length) ftruncateSync(file, end);
    return new Ledger(path, file, entries, end);
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  /** Adds an entry, on the disk when this returns. @throws DISK_FULL, FILE_WRITE */
  append(entry: Entry): void {
    const line = Buffer.from(`${JSON.stringify(entry)}\n`);
    try {
      for (let done = 0; done < line.length; ) done += writeSync(this.#file, line, done);
      fsyncSync(this.#file);
    } catch (cause) {
      // Half a line would spoil the next one.
      ftruncateSync(this.#file, this.#end);
      const full = ["ENOSPC", "EDQUOT"].includes((cause as NodeJS.ErrnoException).code ?? "");
      const what = full ? "no space is left on the disk" : (cause as Error).message;
      throw failure(full ? "DISK_FULL" : "FILE_WRITE", `${this.path} could not be written: ${what}.`, cause);
    }
    this.#end += line.length;
    this.#entries.push(entry);
  }

  close(): void {
    closeSync(this.#file);
  }
}
