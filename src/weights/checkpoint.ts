/** @file A checkpoint: named tensors in one file or several, of which only the headers are read at first. */

import {
  type DiffsightError,
  type DType,
  failure,
  parseSafetensorsHeader,
  safetensorsHeaderLength,
  Tensor,
  viewBytes,
} from "../tensor/index.js";
import type { WeightFile } from "./source.js";
import { readTorchFile } from "./torch-file.js";

/** A tensor that has not been read. */
export interface WeightEntry {
  dtype: DType;
  dims: number[];
  /** Little-endian, row-major bytes: a range of a file (a real path; a URL in the browser), or in memory. */
  storage: { file: string; offset: number; length: number } | { bytes: Uint8Array };
}

export interface Checkpoint {
  /** For messages. */
  readonly name: string;
  readonly entries: ReadonlyMap<string, WeightEntry>;
  /** Its files: real paths, or URLs in the browser. */
  readonly files: readonly string[];
  /** As in `diffusion_pytorch_model.fp16.safetensors`, when it is not the plain one. */
  readonly variant?: string | undefined;
  /** @throws WEIGHT_MISSING when there is no such tensor */
  read(key: string): Promise<Tensor>;
}

export type WeightFormat = "safetensors" | "torch zip" | "torch legacy";

/** One file's tensors. */
export interface WeightPart {
  file: WeightFile;
  format: WeightFormat;
  entries: Map<string, WeightEntry>;
  metadata: Record<string, string>;
}

/**
 * Reads what a weight file holds, without its numbers. The format is told by the first bytes.
 * @throws FILE_CORRUPT, PICKLE_REFUSED, DTYPE_UNSUPPORTED, with the file's location
 */
export async function readWeightFile(file: WeightFile): Promise<WeightPart> {
  try {
    const start = await file.read(0, Math.min(file.size, 64));
    if (startsWith(start, "version https://git-lfs")) {
      throw failure("FILE_CORRUPT", "Not the weights, but git-lfs's pointer to them: run `git lfs pull`.");
    }
    if (isTorch(start)) return { file, ...(await readTorchFile(file)) };
    const headerLength = safetensorsHeaderLength(start, file.size);
    const { entries, metadata } = parseSafetensorsHeader(await file.read(0, 8 + headerLength), file.size);
    const placed = [...entries].map(([key, { dtype, dims, offset, length }]): [string, WeightEntry] => {
      return [key, { dtype, dims, storage: { file: file.location, offset, length } }];
    });
    return { file, format: "safetensors", entries: new Map(placed), metadata };
  } catch (error) {
    throw named(file.location, error);
  }
}

/** A checkpoint of whole files. */
export function checkpointOf(name: string, parts: readonly WeightPart[], variant?: string): Checkpoint {
  const entries = new Map(parts.flatMap((part) => [...part.entries]));
  const files = new Map(parts.map(({ file }) => [file.location, file]));
  return {
    name,
    entries,
    files: [...files.keys()],
    variant,
    async read(key) {
      const entry = entries.get(key);
      if (!entry) throw failure("WEIGHT_MISSING", `${name} has no tensor "${key}".`);
      const { dtype, dims, storage } = entry;
      const bytes =
        "bytes" in storage
          ? storage.bytes
          : await files.get(storage.file)!.read(storage.offset, storage.length);
      return new Tensor(dtype, dims, viewBytes(dtype, bytes));
    },
  };
}

/** A zip, or a pickle; safetensors begins with a length, of which the upper four bytes are 0. */
function isTorch(start: Uint8Array): boolean {
  return startsWith(start, "PK") || (start[0] === 0x80 && start.subarray(4, 8).some((byte) => byte !== 0));
}

/** Puts the file's location before an error that is about its contents. */
function named(location: string, error: unknown): unknown {
  const { code, message, cause } = error as DiffsightError;
  const aboutContents = ["FILE_CORRUPT", "PICKLE_REFUSED", "DTYPE_UNSUPPORTED", "CHECKPOINT_EMPTY"].includes(
    code,
  );
  return aboutContents && !message.startsWith(location)
    ? failure(code, `${location}: ${message}`, cause)
    : error;
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return [...text].every((char, i) => bytes[i] === char.charCodeAt(0));
}
