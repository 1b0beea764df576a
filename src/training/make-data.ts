/** @file A stage of data: its rows are made by threads, shard by shard, and none twice. */

import { mkdir } from "node:fs/promises";
import { StoreWriter } from "../data/index.js";
import { aborted } from "../tensor/index.js";
import type { DataWorkerCall, DataWorkerSetup, Made, Shape } from "./data-worker.js";
import { dataFolders, isTraining, type PlannedData, weightsPath } from "./stages.js";
import { closeThreads, Thread } from "./thread.js";

export interface DataEvent {
  /** Rows. */
  done: number;
  rows: number;
  rowsPerSecond: number;
  secondsLeft: number;
}

export interface MakeDataOptions {
  threads: number;
  signal?: AbortSignal | undefined;
  onRows?: (event: DataEvent) => void;
  /** Told of what is left out. */
  onWarning?: (message: string) => void;
}

/** What the threads of a stage are started with. */
export function dataSetup(planned: PlannedData): DataWorkerSetup {
  const models = Object.entries(planned.stage.models).map(([role, name]) => {
    const made = planned.needs.get(name)!;
    if (!isTraining(made)) throw new Error(`${name} is no stage of training.`);
    return [role, { task: made.stage.task, config: made.config, weights: weightsPath(made) }] as const;
  });
  const { module, config, folder } = planned;
  return { module, config, data: dataFolders(planned), models: Object.fromEntries(models), folder };
}

/**
 * Makes the store of a stage, or what of it is missing.
 * @throws DiffsightError ABORTED between two shards, DISK_FULL, and what the producer throws; finished shards stay
 */
export async function makeData(
  planned: PlannedData,
  { threads, signal, onRows = () => {}, onWarning = () => {} }: MakeDataOptions,
): Promise<void> {
  const { folder, key, stage } = planned;
  await mkdir(folder, { recursive: true });
  const setup = dataSetup(planned);
  const start = () => new Thread<DataWorkerCall>("data-worker", setup);
  const first = start();
  const crew = [first];
  let writer: StoreWriter | undefined;
  try {
    const { count, columns, lines, warnings } = await first.call<Shape>({ kind: "open" });
    warnings.forEach(onWarning);
    const store = StoreWriter.open(folder, { key, rows: count, columns, lines, shardRows: stage.shard });
    writer = store;
    const missing = store.missing;
    const begin = Date.now();
    const before = store.finishedRows;
    const work = async (thread: Thread<DataWorkerCall>) => {
      for (let range = missing.shift(); range; range = missing.shift()) {
        if (signal?.aborted) throw aborted();
        const made = await thread.call<Made>({ kind: "make", range });
        store.record(made.shard);
        made.warnings.forEach(onWarning);
        const done = store.finishedRows;
        const rate = (done - before) / ((Date.now() - begin) / 1000);
        onRows({ done, rows: count, rowsPerSecond: rate, secondsLeft: (count - done) / rate });
      }
    };
    const others = Array.from({ length: Math.min(threads, missing.length) - 1 }, start);
    crew.push(...others);
    const joined = others.map(async (thread) => {
      await thread.call({ kind: "open" });
      await work(thread);
    });
    const ends = await Promise.allSettled([work(first), ...joined]);
    const failed = ends.find((end) => end.status === "rejected");
    if (failed) throw failed.reason;
    (await store.finish()).close();
  } catch (error) {
    writer?.close();
    throw error;
  } finally {
    await closeThreads(crew);
  }
}
