/** @file Sessions of onnxruntime-node in this thread: a run blocks it and cannot be stopped. */

import { closeSync, existsSync, ftruncateSync, openSync, readSync, renameSync, writeSync } from "node:fs";
import * as ort from "onnxruntime-node";
import type { Storage } from "../graph/index.js";
import { viewBytes } from "../tensor/index.js";
import { AlignedMemory, alignedLength, isAligned } from "./aligned.js";
import { fromOrt, type PlainTensor, toOrt } from "./convert.js";
import { derivePart } from "./derive.js";
import type { Feeds, KeptRun, SessionRequest } from "./host.js";
import { RowStore } from "./kept.js";
import { sessionOptions } from "./session.js";

const sessions = new Map<number, { session: ort.InferenceSession; profiled: boolean }>();
const staging = new AlignedMemory();
const rows = new RowStore();
let last = 0;

export async function createSession(request: SessionRequest): Promise<number> {
  if (request.derived) writeDerived(request.derived);
  const session = await ort.InferenceSession.create(request.model, sessionOptions(request));
  sessions.set(++last, { session, profiled: request.profile !== undefined });
  return last;
}

/** @param into tensors that outputs are written to, by name; the others get memory of their own */
export async function runSession(
  id: number,
  feeds: Feeds,
  into: Feeds = {},
  kept?: KeptRun,
): Promise<Record<string, PlainTensor>> {
  const { session } = sessions.get(id)!;
  const given = aligned(kept ? { ...feeds, ...rows.read(kept) } : feeds).map(([name, tensor]) => [
    name,
    toOrt(ort.Tensor, tensor),
  ]);
  const wanted = session.outputNames.map((name) => [name, into[name] ? toOrt(ort.Tensor, into[name]) : null]);
  const results = await session.run(Object.fromEntries(given), Object.fromEntries(wanted));
  const tensors = Object.fromEntries(
    Object.entries(results).map(([name, tensor]) => [name, into[name] ?? fromOrt(tensor)]),
  );
  if (kept) rows.take(kept, tensors);
  return tensors;
}

export async function dropRows(kept: number): Promise<void> {
  rows.drop(kept);
}

export async function releaseSession(id: number): Promise<void> {
  const { session, profiled } = sessions.get(id)!;
  sessions.delete(id);
  if (profiled) session.endProfiling();
  await session.release();
}

/** The feeds in memory whose address is a multiple of 64 bytes, copied where they are not yet. */
function aligned(feeds: Feeds): [string, PlainTensor][] {
  const entries = Object.entries(feeds);
  const loose = entries.filter(([, { data }]) => !isAligned(data));
  const buffer = staging.room(loose.reduce((sum, [, { data }]) => sum + alignedLength(data.byteLength), 0));
  let offset = 0;
  return entries.map(([name, tensor]) => {
    const { dtype, dims, data } = tensor;
    if (isAligned(data)) return [name, tensor];
    const placed = new Uint8Array(buffer, offset, data.byteLength);
    placed.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset += alignedLength(data.byteLength);
    return [name, { dtype, dims, data: viewBytes(dtype, placed) }];
  });
}

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
