/** @file A store of conversations as its producer writes it, made without threads. */

import { hashFile, Store, StoreWriter, writeShard } from "../../src/data/index.js";
import { Tensor } from "../../src/tensor/index.js";
import { wordsColumn } from "../../src/training/lines.js";

export interface Talk {
  /** Paths. */
  images: readonly string[];
  /** What is asked and answered in turn. */
  said: readonly string[];
  /** Why it cannot be used. */
  fault?: string;
}

export async function talkStore(folder: string, talks: readonly Talk[]): Promise<Store> {
  const lines = await Promise.all(
    talks.map(async ({ images, said, fault }, row) => ({
      row,
      id: `talk ${row}`,
      ...(fault && { fault }),
      images: await Promise.all(images.map(async (path) => ({ path, sha256: await hashFile(path) }))),
      turns: said.map((text, i) => ({ role: i % 2 === 0 ? "user" : "assistant", text })),
    })),
  );
  const words = talks.map(({ images, fault }) => (fault ? 0 : images.length > 0 ? 5 : -5));
  const plan = {
    key: "talks",
    rows: talks.length,
    shardRows: talks.length,
    columns: { [wordsColumn]: { dtype: "i32" as const, dims: [] } },
    lines: true,
  };
  const columns = { [wordsColumn]: new Tensor("i32", [talks.length], Int32Array.from(words)) };
  const writer = StoreWriter.open(folder, plan);
  for (const range of writer.missing)
    writer.record(await writeShard(folder, range, plan, { columns, lines }));
  (await writer.finish()).close();
  return Store.open(folder);
}
