/** @file The thread in which sessions live: a run of onnxruntime-node blocks the thread that calls it. */

import { closeSync, existsSync, ftruncateSync, openSync, readSync, renameSync, writeSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import * as ort from "onnxruntime-node";
import type { Storage } from "../graph/index.js";
import { fromOrt, toOrt } from "./convert.js";
import { derivePart } from "./derive.js";
import type { Feeds, SessionRequest } from "./host.js";
import { sessionOptions } from "./session.js";

export type Call =
  | { id: number; kind: "create"; request: SessionRequest }
  | { id: number; kind: "run"; session: number; feeds: Feeds }
  | { id: number; kind: "release"; session: number };

export type Reply = { id: number; result: unknown } | { id: number; error: string };

const sessions = new Map<number, { session: ort.InferenceSession; profiled: boolean }>();

/** Writes the derived weights to their file, unless an earlier thread did. Half a file is never taken for a whole one. */
function writeDerived({ file, bytes, parts }: NonNullable<SessionRequest["derived"]>): void {
  if (existsSync(file)) return;
  const unfinished = `${file}.unfinished`;
  const target = openSync(unfinished, "w", 0o600);
  try {
    ftruncateSync(target, bytes);
    for (const part of parts) {
      const derived = derivePart(part, sourceBytes(part.storage));
      writeWhole(target, new Uint8Array(derived.buffer), part.offset);
    }
  } finally {
    closeSync(target);
  }
  renameSync(unfinished, file);
}

function sourceBytes(storage: Storage): Uint8Array {
  if ("bytes" in storage) return storage.bytes;
  const bytes = new Uint8Array(storage.length);
  const file = openSync(storage.file, "r");
  try {
    for (let done = 0; done < bytes.length; ) {
      const read = readSync(file, bytes, done, bytes.length - done, storage.offset + done);
      if (read === 0) throw new Error(`${storage.file} ends too early.`);
      done += read;
    }
  } finally {
    closeSync(file);
  }
  return bytes;
}

function writeWhole(file: number, bytes: Uint8Array, offset: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(file, bytes, done, bytes.length - done, offset + done);
  }
}

async function handle(call: Call): Promise<{ result: unknown; transfer: ArrayBuffer[] }> {
  if (call.kind === "create") {
    const { request } = call;
    if (request.derived) writeDerived(request.derived);
    const externalData = request.buffers.map(({ location, bytes }) => ({ path: location, data: bytes }));
    const options = { ...sessionOptions(request), ...(externalData.length > 0 && { externalData }) };
    const session = await ort.InferenceSession.create(request.model, options);
    sessions.set(call.id, { session, profiled: request.profile !== undefined });
    return { result: call.id, transfer: [] };
  }
  const entry = sessions.get(call.session)!;
  if (call.kind === "release") {
    sessions.delete(call.session);
    if (entry.profiled) entry.session.endProfiling();
    await entry.session.release();
    return { result: undefined, transfer: [] };
  }
  const feeds = Object.fromEntries(
    Object.entries(call.feeds).map(([name, tensor]) => [name, toOrt(ort.Tensor, tensor)]),
  );
  const results = Object.entries(await entry.session.run(feeds));
  const tensors = results.map(([name, tensor]) => [name, fromOrt(tensor)] as const);
  const transfer = tensors.map(([, { data }]) => data.buffer as ArrayBuffer);
  return { result: Object.fromEntries(tensors), transfer };
}

parentPort!.on("message", (call: Call) => {
  handle(call).then(
    ({ result, transfer }) => parentPort!.postMessage({ id: call.id, result } satisfies Reply, transfer),
    (error: unknown) =>
      parentPort!.postMessage({
        id: call.id,
        error: String((error as Error)?.message ?? error),
      } satisfies Reply),
  );
});
