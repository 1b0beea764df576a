/**
 * @file A store: rows of tensors of fixed shapes, and a line of JSON each if wanted, in shards on disk. Any row is read
 * without the rest. A shard is a safetensors file with a tensor [rows, ...] a column, and a .jsonl file beside it.
 */

import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import {
  allocate,
  byteSize,
  count,
  type Dims,
  type DType,
  dtypes,
  failure,
  formatDims,
  misuse,
  parseSafetensorsHeader,
  safetensorsHeaderLength,
  Tensor,
  viewBytes,
} from "../tensor/index.js";
import { hashFile } from "./hash.js";

/** What each row holds: element type and shape by name. */
export type Columns = Readonly<Record<string, { dtype: DType; dims: Dims }>>;

/** Stores by the role that they play. */
export type Stores = Readonly<Record<string, Store>>;

/** Some rows: tensors [n, ...] by column, and n lines where the store has them. */
export interface Rows {
  columns: Readonly<Record<string, Tensor>>;
  lines?: readonly unknown[];
}

const column = z.strictObject({
  dtype: z.enum(dtypes as [DType, ...DType[]]),
  dims: z.array(z.number().int().positive()).readonly(),
});

export const shardSchema = z.strictObject({
  shard: z.number().int().min(0),
  /** By name of the file. */
  files: z.record(z.string(), z.strictObject({ bytes: z.number().int(), sha256: z.string() })),
});

/** A finished shard. */
export type Shard = z.infer<typeof shardSchema>;

const storeSchema = z.strictObject({
  format: z.literal("diffsight-store-1"),
  key: z.string(),
  rows: z.number().int().positive(),
  shardRows: z.number().int().positive(),
  columns: z.record(z.string(), column),
  lines: z.boolean(),
  shards: z.array(shardSchema),
});

/** `store.json`: written last, so that a folder with it is whole. */
export type StoreIndex = z.infer<typeof storeSchema>;

export const storeFile = "store.json";

export const shardNames = (shard: number): { tensors: string; lines: string } => {
  const name = `shard-${String(shard).padStart(5, "0")}`;
  return { tensors: `${name}.safetensors`, lines: `${name}.jsonl` };
};

/** How many files of a store are open at once: a million rows lie in thousands, which some systems do not allow. */
const mostOpen = 64;

/** A finished store. Files are opened when a row of theirs is read; of each only where its rows lie is kept in memory. */
export class Store {
  /** By name, the one that was read last at the end. */
  readonly #files = new Map<string, number>();
  /** Of each shard that was read: where each column begins. */
  readonly #offsets = new Map<number, ReadonlyMap<string, number>>();
  /** Of each shard that was read: where each line begins, and where the last one ends. */
  readonly #starts = new Map<number, Uint32Array>();

  private constructor(
    readonly folder: string,
    readonly index: StoreIndex,
  ) {}

  /** @throws STORE_MISSING when there is no finished store, STORE_CORRUPT */
  static open(folder: string): Store {
    let text: string;
    try {
      text = readFileSync(join(folder, storeFile), "utf8");
    } catch (cause) {
      throw failure(
        "STORE_MISSING",
        `${folder} holds no finished store: ${storeFile} cannot be read.`,
        cause,
      );
    }
    let index: StoreIndex;
    try {
      index = storeSchema.parse(JSON.parse(text));
    } catch (cause) {
      throw failure("STORE_CORRUPT", `${join(folder, storeFile)} is damaged.`, cause);
    }
    for (const [name, { bytes }] of index.shards.flatMap(({ files }) => Object.entries(files))) {
      const found = statSync(join(folder, name), { throwIfNoEntry: false })?.size;
      if (found !== bytes) {
        throw failure(
          "STORE_CORRUPT",
          `${join(folder, name)} has ${found ?? "no"} bytes where ${bytes} were written.`,
        );
      }
    }
    return new Store(folder, index);
  }

  get rows(): number {
    return this.index.rows;
  }

  get columns(): Columns {
    return this.index.columns;
  }

  /** Reads every byte and compares with what was written. @throws STORE_CORRUPT that names the file */
  async verify(options: { signal?: AbortSignal } = {}): Promise<void> {
    for (const [name, { sha256 }] of this.index.shards.flatMap(({ files }) => Object.entries(files))) {
      if ((await hashFile(join(this.folder, name), options)) !== sha256) {
        throw failure(
          "STORE_CORRUPT",
          `${join(this.folder, name)} is not what was written: its hash differs. Remove ${this.folder} to make it again.`,
        );
      }
    }
  }

  /**
   * Rows of one column, in the order asked for.
   * @returns [n, ...]
   * @throws COLUMN_MISSING, ROW_RANGE, STORE_CORRUPT
   */
  gather(name: string, rows: readonly number[]): Tensor {
    const { dtype, dims } = this.#column(name);
    const rowBytes = count(dims) * byteSize(dtype);
    const bytes = new Uint8Array((allocate(dtype, rows.length * count(dims)) as Uint8Array).buffer);
    rows.forEach((row, i) => {
      const [shard, at] = this.#place(row);
      const into = bytes.subarray(i * rowBytes, (i + 1) * rowBytes);
      this.#read(shardNames(shard).tensors, into, this.#offsetsOf(shard).get(name)! + at * rowBytes);
    });
    return new Tensor(dtype, [rows.length, ...dims], viewBytes(dtype, bytes));
  }

  /** One row of one column. */
  row(name: string, row: number): Tensor {
    return this.gather(name, [row]).reshape(this.#column(name).dims);
  }

  /** The line of a row. @throws LINES_MISSING, ROW_RANGE, STORE_CORRUPT */
  line(row: number): unknown {
    const [shard, at] = this.#place(row);
    const starts = this.#startsOf(shard);
    const bytes = new Uint8Array(starts[at + 1]! - starts[at]!);
    this.#read(shardNames(shard).lines, bytes, starts[at]!);
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  }

  close(): void {
    for (const file of this.#files.values()) closeSync(file);
    this.#files.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #column(name: string): { dtype: DType; dims: Dims } {
    const found = this.columns[name];
    if (!found) {
      const names = Object.keys(this.columns).join(", ");
      throw misuse("COLUMN_MISSING", `${this.folder} has no column "${name}": there are ${names}.`);
    }
    return found;
  }

  #place(row: number): [shard: number, at: number] {
    if (!Number.isInteger(row) || row < 0 || row >= this.rows) {
      throw misuse("ROW_RANGE", `Row ${row} of ${this.folder}: there are 0 to ${this.rows - 1}.`);
    }
    const shard = Math.floor(row / this.index.shardRows);
    return [shard, row - shard * this.index.shardRows];
  }

  #rowsOf(shard: number): number {
    return Math.min(this.index.shardRows, this.rows - shard * this.index.shardRows);
  }

  #offsetsOf(shard: number): ReadonlyMap<string, number> {
    const known = this.#offsets.get(shard);
    if (known) return known;
    const name = shardNames(shard).tensors;
    const size = this.index.shards[shard]!.files[name]!.bytes;
    const start = new Uint8Array(8);
    this.#read(name, start, 0);
    const header = new Uint8Array(8 + safetensorsHeaderLength(start, size));
    this.#read(name, header, 0);
    const { entries } = parseSafetensorsHeader(header, size);
    const offsets = new Map<string, number>();
    for (const [column, { dtype, dims }] of Object.entries(this.columns)) {
      const entry = entries.get(column);
      const wanted = formatDims([this.#rowsOf(shard), ...dims]);
      if (entry?.dtype !== dtype || formatDims(entry.dims) !== wanted) {
        const path = join(this.folder, name);
        throw failure("STORE_CORRUPT", `${path}: column "${column}" is not ${dtype} ${wanted}.`);
      }
      offsets.set(column, entry.offset);
    }
    this.#offsets.set(shard, offsets);
    return offsets;
  }

  #startsOf(shard: number): Uint32Array {
    const known = this.#starts.get(shard);
    if (known) return known;
    if (!this.index.lines) throw misuse("LINES_MISSING", `The rows of ${this.folder} have no lines.`);
    const path = join(this.folder, shardNames(shard).lines);
    const bytes = readFileSync(path);
    const rows = this.#rowsOf(shard);
    const starts = new Uint32Array(rows + 1);
    for (let row = 0; row < rows; row++) {
      const end = bytes.indexOf(10, starts[row]!);
      if (end === -1) throw failure("STORE_CORRUPT", `${path} has fewer than ${rows} lines.`);
      starts[row + 1] = end + 1;
    }
    this.#starts.set(shard, starts);
    return starts;
  }

  #read(name: string, into: Uint8Array, offset: number): void {
    const file = this.#open(name);
    for (let done = 0; done < into.length; ) {
      const read = readSync(file, into, done, into.length - done, offset + done);
      if (read === 0) throw failure("STORE_CORRUPT", `A shard of ${this.folder} ends too early.`);
      done += read;
    }
  }

  #open(name: string): number {
    const file = this.#files.get(name) ?? openSync(join(this.folder, name), "r");
    this.#files.delete(name);
    this.#files.set(name, file);
    if (this.#files.size > mostOpen) {
      const [oldest, its] = this.#files.entries().next().value!;
      this.#files.delete(oldest);
      closeSync(its);
    }
    return file;
  }
}
