/**
 * @file The process in which sessions live. A run of onnxruntime-node blocks the thread that calls it and cannot be
 * stopped; ending a thread in the middle of one brings the whole process down, so it is a process that is ended.
 */

import { closeSync, existsSync, ftruncateSync, openSync, readSync, renameSync, writeSync } from "node:fs";
import * as ort from "onnxruntime-node";
import type { Storage } from "../graph/index.js";
import { viewBytes } from "../tensor/index.js";
import { fromOrt, type PlainTensor, toOrt } from "./convert.js";
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

/** Its address is a multiple of a page, as no other memory of JavaScript's is known to be. */
const staging = new WebAssembly.Memory({ initial: 0 });
const pageBytes = 2 ** 16;

/**
 * The feeds, each at a multiple of 64 bytes. Kernels begin their sums at an aligned address, so that the same numbers
 * elsewhere are added in another order.
 */
function aligned(feeds: Feeds): [string, PlainTensor][] {
  const entries = Object.entries(feeds);
  const room = (tensor: PlainTensor) => Math.ceil(tensor.data.byteLength / 64) * 64;
  const bytes = entries.reduce((total, [, tensor]) => total + room(tensor), 0);
  const missing = Math.ceil((bytes - staging.buffer.byteLength) / pageBytes);
  if (missing > 0) staging.grow(missing);
  let offset = 0;
  return entries.map(([name, tensor]) => {
    const { dtype, dims, data } = tensor;
    const placed = new Uint8Array(staging.buffer, offset, data.byteLength);
    placed.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset += room(tensor);
    return [name, { dtype, dims, data: viewBytes(dtype, placed) }];
  });
}

async function handle(call: Call): Promise<unknown> {
  if (call.kind === "create") {
    const { request } = call;
    if (request.derived) writeDerived(request.derived);
    const session = await ort.InferenceSession.create(request.model, sessionOptions(request));
    sessions.set(call.id, { session, profiled: request.profile !== undefined });
    return call.id;
  }
  const entry = sessions.get(call.session)!;
  if (call.kind === "release") {
    sessions.delete(call.session);
    if (entry.profiled) entry.session.endProfiling();
    await entry.session.release();
    return undefined;
  }
  const feeds = Object.fromEntries(
    aligned(call.feeds).map(([name, tensor]) => [name, toOrt(ort.Tensor, tensor)]),
  );
  const results = Object.entries(await entry.session.run(feeds));
  return Object.fromEntries(results.map(([name, tensor]) => [name, fromOrt(tensor)]));
}

process.on("message", (call: Call) => {
  const reply = (message: Reply) => process.send!(message);
  handle(call).then(
    (result) => reply({ id: call.id, result }),
    (error: unknown) => reply({ id: call.id, error: String((error as Error)?.message ?? error) }),
  );
});

// A terminal's Ctrl-C reaches all its processes; the one that asks decides what becomes of the work.
process.on("SIGINT", () => {});

// Whoever asked is gone. The runtime's own end is skipped: nothing is left to be saved.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
