/** @file Makes a store shard by shard; a killed writer's finished shards stay. */

import { statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { encodeSafetensors, failure, formatDims, misuse } from "../tensor/index.js";
import { writeFileAtomic } from "../weights/index.js";
import { canonicalJson, hashBytes } from "./hash.js";
import { Ledger } from "./ledger.js";
import {
  type Columns,
  type Rows,
  type Shard,
  Store,
  type StoreIndex,
  shardNames,
  shardSchema,
  storeFile,
} from "./store.js";

export interface StorePlan {
  /** What the rows are made from, as `contentKey` gives it. */
  key: string;
  rows: number;
  columns: Columns;
  lines: boolean;
  /** Rows in a shard, but the last. Default 512. */
  shardRows?: number;
}

/** Rows from .. to - 1. */
export interface Range {
  shard: number;
  from: number;
  to: number;
}

/** Writes one shard's files, in any thread; the store's writer records it. @throws STORE_ROWS, DISK_FULL, FILE_ACCESS */
export async function writeShard(
  folder: string,
  { shard, from, to }: Range,
  { columns, lines }: Pick<StorePlan, "columns" | "lines">,
  rows: Rows,
): Promise<Shard> {
  const tensors = Object.entries(columns).map(([name, { dtype, dims }]) => {
    const tensor = rows.columns[name];
    const wanted = formatDims([to - from, ...dims]);
    if (tensor?.dtype !== dtype || formatDims(tensor.dims) !== wanted) {
      const found = tensor ? `${tensor.dtype} ${formatDims(tensor.dims)}` : "nothing";
      throw failure(
        "STORE_ROWS",
        `Rows ${from} to ${to - 1}: "${name}" must be ${dtype} ${wanted}, not ${found}.`,
      );
    }
    return [name, tensor] as const;
  });
  const names = shardNames(shard);
  const contents: [string, Uint8Array][] = [[names.tensors, encodeSafetensors(tensors)]];
  if (lines) {
    if (rows.lines?.length !== to - from) {
      throw failure("STORE_ROWS", `Rows ${from} to ${to - 1} have ${rows.lines?.length ?? 0} lines.`);
    }
    const text = rows.lines.map((line) => `${JSON.stringify(line)}\n`).join("");
    contents.push([names.lines, new TextEncoder().encode(text)]);
  }
  const files: Shard["files"] = {};
  for (const [name, bytes] of contents) {
    await writeFileAtomic(join(folder, name), bytes);
    files[name] = { bytes: bytes.length, sha256: hashBytes(bytes) };
  }
  return { shard, files };
}

/** The one who knows which shards are done. */
export class StoreWriter {
  readonly #done = new Map<number, Shard>();

  private constructor(
    readonly folder: string,
    readonly plan: Required<StorePlan>,
    readonly ledger: Ledger<unknown>,
  ) {}

  /**
   * Begins a store, or goes on with one that was begun.
   * @throws STORE_OTHER when the folder holds one of another plan
   */
  static open(folder: string, { shardRows = 512, ...rest }: StorePlan): StoreWriter {
    const plan = { shardRows, ...rest };
    const ledger = Ledger.open<unknown>(join(folder, "ledger.jsonl"));
    const writer = new StoreWriter(folder, plan, ledger);
    const [first, ...entries] = ledger.entries;
    if (first === undefined) ledger.append(plan);
    else if (canonicalJson(first) !== canonicalJson(plan)) {
      ledger.close();
      throw misuse("STORE_OTHER", `${folder} holds another store. Choose another folder, or remove it.`);
    }
    for (const entry of entries) {
      const { success, data } = shardSchema.safeParse(entry);
      const whole = (name: string, bytes: number) =>
        statSync(join(folder, name), { throwIfNoEntry: false })?.size === bytes;
      if (success && Object.entries(data.files).every(([name, { bytes }]) => whole(name, bytes)))
        writer.#done.set(data.shard, data);
    }
    return writer;
  }

  /** Rows that need not be made again. */
  get finishedRows(): number {
    const { rows, shardRows } = this.plan;
    return [...this.#done.keys()].reduce((sum, i) => sum + Math.min(shardRows, rows - i * shardRows), 0);
  }

  /** The shards that are still to be written. */
  get missing(): Range[] {
    const { rows, shardRows } = this.plan;
    const all = Array.from({ length: Math.ceil(rows / shardRows) }, (_, shard) => ({
      shard,
      from: shard * shardRows,
      to: Math.min(rows, (shard + 1) * shardRows),
    }));
    return all.filter(({ shard }) => !this.#done.has(shard));
  }

  /** Takes note of a shard that `writeShard` has written. */
  record(shard: Shard): void {
    this.ledger.append(shard);
    this.#done.set(shard.shard, shard);
  }

  /** The store, when no shard is missing. @throws STORE_UNFINISHED */
  async finish(): Promise<Store> {
    const missing = this.missing.length;
    if (missing > 0)
      throw failure("STORE_UNFINISHED", `${missing} shards of ${this.folder} are not written.`);
    const { key, rows, shardRows, columns, lines } = this.plan;
    const shards = [...this.#done.values()].sort((a, b) => a.shard - b.shard);
    const index: StoreIndex = { format: "diffsight-store-1", key, rows, shardRows, columns, lines, shards };
    await writeFileAtomic(join(this.folder, storeFile), `${JSON.stringify(index)}\n`);
    this.ledger.close();
    await rm(this.ledger.path, { force: true });
    return Store.open(this.folder);
  }

  close(): void {
    this.ledger.close();
  }
}
