/** @file A worker thread that makes ranges of a store's rows and writes their shards. */

import { readFileSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { type Columns, type Range, Store, writeShard } from "../data/index.js";
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
  const { count, columns, lines } = production;
  return { count, columns, lines };
}

answerCalls<DataWorkerCall>(
  async (call) => {
    if (call.kind === "open") return open();
    const { range } = call;
    return writeShard(setup.folder, range, production!, await production!.make(range.from, range.to));
  },
  async () => production?.release?.(),
);
