/** @file Files of torch.save: the zip archives of today, and the bare pickles of before torch 1.6. */

import { byteSize, count, type DiffsightError, failure, fromStrides, viewBytes } from "../tensor/index.js";
import type { WeightEntry } from "./checkpoint.js";
import type { WeightFile } from "./source.js";
import {
  type Pickle,
  PickleEnded,
  type PickleValue,
  readPickle,
  type TorchStorage,
  TorchTensor,
} from "./torch-pickle.js";
import { readZipDirectory, zipMemberOffset } from "./torch-zip.js";

export interface TorchFile {
  format: "torch zip" | "torch legacy";
  entries: Map<string, WeightEntry>;
  metadata: Record<string, string>;
}

/** Pickles describe tensors and hold none of their numbers: real ones stay far below. */
const maxPickle = 16_000_000;

/** Transposed and strided views are read and put in order; all of them together may span so many times the file. */
const maxViews = 4;

/**
 * Reads a state dict: the tensors of a dictionary, or of the one called `state_dict` in it.
 * @throws PICKLE_REFUSED for what would have to be run, FILE_CORRUPT, CHECKPOINT_EMPTY
 */
export async function readTorchFile(file: WeightFile): Promise<TorchFile> {
  const start = await file.read(0, Math.min(2, file.size));
  const zip = start[0] === 0x50 && start[1] === 0x4b;
  const { root, offsets } = await (zip ? readZip(file) : readLegacy(file));
  const tensors = stateDict(root);
  const entries = new Map<string, WeightEntry>();
  let allowed = file.size * maxViews;
  for (const [key, tensor] of tensors) {
    const { storage, dims } = tensor;
    const { dtype } = storage;
    const place = { file: file.location, offset: offsets.get(storage)! + tensor.offset * byteSize(dtype) };
    const length = count(dims) * byteSize(dtype);
    if (isRowMajor(tensor)) {
      entries.set(key, { dtype, dims, storage: { ...place, length } });
      continue;
    }
    const span = spanOf(tensor) * byteSize(dtype);
    allowed -= Math.max(span, length);
    if (allowed < 0) throw failure("PICKLE_REFUSED", `Its views span over ${maxViews} times the file.`);
    entries.set(key, {
      dtype,
      dims,
      storage: { bytes: inOrder(tensor, await file.read(place.offset, span)) },
    });
  }
  return { format: zip ? "torch zip" : "torch legacy", entries, metadata: {} };
}

interface Contents {
  root: PickleValue;
  /** Where each storage begins in the file. */
  offsets: Map<TorchStorage, number>;
}

async function readZip(file: WeightFile): Promise<Contents> {
  const members = await readZipDirectory(file);
  const pickleName = [...members.keys()].find((name) => name === "data.pkl" || name.endsWith("/data.pkl"));
  if (pickleName === undefined) throw corrupt("the archive has no data.pkl");
  const folder = pickleName.slice(0, -"data.pkl".length);
  if (members.has(`${folder}constants.pkl`)) {
    throw failure(
      "PICKLE_REFUSED",
      "This is a TorchScript program, not a checkpoint: save its state_dict instead.",
    );
  }
  const member = async (name: string, limit: number): Promise<Uint8Array | undefined> => {
    const found = members.get(folder + name);
    if (!found) return undefined;
    if (found.size > limit) throw corrupt(`${name} has ${found.size} bytes (at most ${limit} are read)`);
    return file.read(await zipMemberOffset(file, found), found.size);
  };
  const order = await member("byteorder", 16);
  if (order && new TextDecoder().decode(order) !== "little") throw bigEndian();

  const pickle = readPickle((await member("data.pkl", maxPickle))!);
  const offsets = new Map<TorchStorage, number>();
  const storages = [...pickle.storages.values()];
  const batch = 32; // reads in flight
  for (let from = 0; from < storages.length; from += batch) {
    await Promise.all(
      storages.slice(from, from + batch).map(async (storage) => {
        const found = members.get(`${folder}data/${storage.key}`);
        const bytes = storage.size * byteSize(storage.dtype);
        if (!found || found.size < bytes) {
          throw corrupt(
            `the storage ${JSON.stringify(storage.key)} has ${found?.size ?? "no"} bytes, not ${bytes}`,
          );
        }
        offsets.set(storage, await zipMemberOffset(file, found));
      }),
    );
  }
  return { root: pickle.value, offsets };
}

/** Five pickles (magic number, version, system, the object, its storages' keys), then each storage's size and numbers. */
async function readLegacy(file: WeightFile): Promise<Contents> {
  const [magic, , system, object, keys] = await readPickles(file, 5);
  if (
    magic?.value !== 0x1950a86a20f9469cfc6cn ||
    !(system?.value instanceof Map) ||
    !Array.isArray(keys?.value)
  ) {
    throw corrupt("a pickle, but not one of torch.save");
  }
  if (system.value.get("little_endian") !== true) throw bigEndian();

  const missing = new Map<PickleValue, TorchStorage>(object!.storages);
  const offsets = new Map<TorchStorage, number>();
  let at = keys.end;
  for (const key of keys.value) {
    const storage = missing.get(key);
    if (!storage) throw corrupt(`no tensor uses the storage ${JSON.stringify(String(key).slice(0, 40))}`);
    missing.delete(key);
    if (at + 8 > file.size) break;
    const header = await file.read(at, 8);
    const size = Number(new DataView(header.buffer, header.byteOffset).getBigInt64(0, true));
    if (size !== storage.size) {
      throw corrupt(`the storage ${JSON.stringify(storage.key)} has ${size} numbers, not ${storage.size}`);
    }
    offsets.set(storage, at + 8);
    at += 8 + size * byteSize(storage.dtype);
  }
  if (missing.size > 0 || at > file.size)
    throw corrupt("it ends before its numbers do (a download cut short?)");
  return { root: object!.value, offsets };
}

/** Reads pickles from the file's beginning; nothing says how long they are, so more is read until it is enough. */
async function readPickles(file: WeightFile, wanted: number): Promise<Pickle[]> {
  for (let length = 1 << 18; ; length *= 4) {
    const bytes = await file.read(0, Math.min(length, file.size, maxPickle));
    try {
      const pickles: Pickle[] = [];
      while (pickles.length < wanted) pickles.push(readPickle(bytes, pickles.at(-1)?.end ?? 0));
      return pickles;
    } catch (error) {
      if (!(error instanceof PickleEnded) || bytes.length < length) throw error;
    }
  }
}

/** The tensors of a dictionary, and of the one called `state_dict` in it; what else lies there is not weights. */
function stateDict(root: PickleValue): Map<string, TorchTensor> {
  if (!(root instanceof Map)) throw failure("CHECKPOINT_EMPTY", "The file holds no dictionary of tensors.");
  const inner = root.get("state_dict");
  const dictionary = inner instanceof Map ? inner : root;
  const tensors = new Map<string, TorchTensor>();
  for (const [key, value] of dictionary) {
    if (typeof key === "string" && value instanceof TorchTensor) tensors.set(key, value);
  }
  if (tensors.size === 0) {
    const names = [...dictionary.keys()].slice(0, 8).map((key) => JSON.stringify(String(key).slice(0, 60)));
    throw failure(
      "CHECKPOINT_EMPTY",
      `The file's dictionary holds no tensors; its keys are ${names.join(", ") || "none"}.`,
    );
  }
  return tensors;
}

function isRowMajor({ dims, strides }: TorchTensor): boolean {
  let stride = 1;
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    if (dims[axis]! > 1 && strides[axis] !== stride) return count(dims) === 0;
    stride *= dims[axis]!;
  }
  return true;
}

/** Elements from the first to the last one of a tensor that is not empty. */
function spanOf({ dims, strides }: TorchTensor): number {
  return 1 + dims.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 0);
}

function inOrder({ storage: { dtype }, dims, strides }: TorchTensor, bytes: Uint8Array): Uint8Array {
  const { data } = fromStrides(dtype, viewBytes(dtype, bytes), dims, strides);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function bigEndian(): DiffsightError {
  return failure(
    "PICKLE_REFUSED",
    "The file was written on a big-endian machine; save it again on a little-endian one.",
  );
}

function corrupt(what: string): DiffsightError {
  return failure("FILE_CORRUPT", `Not a valid torch file: ${what}.`);
}
