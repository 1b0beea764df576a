/** @file A worker thread that makes ranges of a store's rows and writes their shards. */

import { readFileSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { type Columns, type Range, type Shard, Store, writeShard } from "../data/index.js";
import { decodeSafetensors } from "../tensor/index.js";
import type { Producer, Production } from "./producer.js";
import { answerCalls } from "./thread.js";

export interface DataWorkerSetup {
  /** The module that exports the producer. */
  module: string;
  config: unknown;
  /** Folders of the stores, by role. */
  data: Readonly<Record<string, string>>;
  models: Readonly<Record<string, { task: string; config: unknown; weights: string }>>;
  /** Where shards go. */
  folder: string;
}

export type DataWorkerCall = { kind: "open" } | { kind: "make"; range: Range } | { kind: "close" };

/** What the producer is about to make. */
export interface Shape {
  count: number;
  columns: Columns;
  lines: boolean;
  warnings: readonly string[];
}

/** A shard that was written, and what was left out of it. */
export interface Made {
  shard: Shard;
  warnings: readonly string[];
}

const setup = workerData as DataWorkerSetup;
let production: Production | undefined;

async function open(): Promise<Shape> {
  const { producer } = (await import(setup.module)) as { producer: Producer };
  const data = Object.fromEntries(
    Object.entries(setup.data).map(([role, folder]) => [role, Store.open(folder)]),
  );
  const models = Object.fromEntries(
    Object.entries(setup.models).map(([role, { task, config, weights }]) => {
      return [role, { task, config, weights: decodeSafetensors(readFileSync(weights)).tensors }];
    }),
  );
  production = await producer.open({ config: setup.config, data, models });
  const { count, columns, lines, warnings = [] } = production;
  return { count, columns, lines, warnings };
}

answerCalls<DataWorkerCall>(
  async (call) => {
    if (call.kind === "open") return open();
    const { range } = call;
    const warnings: string[] = [];
    const warn = (message: string) => void warnings.push(message);
    const rows = await production!.make(range.from, range.to, warn);
    return { shard: await writeShard(setup.folder, range, production!, rows), warnings } satisfies Made;
  },
  async () => production?.release?.(),
);
