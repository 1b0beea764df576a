/** @file The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes without holes. */

import { allocate, byteSize, type DType, viewBytes } from "./dtype.js";
import { type DiffsightError, failure, misuse } from "./errors.js";
import { count, type Dims, formatDims, Tensor } from "./tensor.js";

/** Where one tensor lies in a file. */
export interface SafetensorsEntry {
  dtype: DType;
  dims: number[];
  /** Bytes from the file's beginning. */
  offset: number;
  /** Bytes. */
  length: number;
}

export interface SafetensorsHeader {
  /** Bytes of the JSON; the tensors begin at 8 + headerLength. */
  headerLength: number;
  entries: Map<string, SafetensorsEntry>;
  metadata: Record<string, string>;
}

/** The reference implementation's limit. */
const maxHeaderLength = 100_000_000;

/** Element types in the order in which the reference writer lays tensors out: wide ones first, so that all are aligned. */
const layout = [
  "u64",
  "i64",
  "f64",
  "f32",
  "u32",
  "i32",
  "bf16",
  "f16",
  "u16",
  "i16",
  "i8",
  "u8",
  "bool",
] as const;

const byName = new Map<string, DType>(layout.map((dtype) => [dtype.toUpperCase(), dtype]));

/** Types of the format that diffsight cannot compute with. */
const unsupported = new Set([
  "F8_E4M3",
  "F8_E5M2",
  "F8_E8M0",
  "F8_E4M3FNUZ",
  "F8_E5M2FNUZ",
  "F6_E2M3",
  "F6_E3M2",
  "F4",
  "C64",
]);

/**
 * Reads the JSON header's length from a file's first 8 bytes, so that a caller knows how much to read.
 * @throws FILE_CORRUPT when it is over 100 MB or over what the file holds
 */
export function safetensorsHeaderLength(bytes: Uint8Array, fileSize: number): number {
  if (bytes.length < 8 || fileSize < 8)
    throw corrupt(`a file of ${Math.min(bytes.length, fileSize)} bytes has no header`);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (length > BigInt(maxHeaderLength))
    throw corrupt(`a header of ${length} bytes (at most ${maxHeaderLength} are allowed)`);
  if (Number(length) > fileSize - 8) throw corrupt(`a header of ${length} bytes in a file of ${fileSize}`);
  return Number(length);
}

/**
 * Parses and checks a header: known types, shapes that match their byte ranges, ranges that fill the file without
 * overlap or hole, no name twice.
 * @param bytes at least the file's first 8 + headerLength bytes
 * @param fileSize of the whole file, in bytes
 * @throws FILE_CORRUPT, or DTYPE_UNSUPPORTED for an element type that diffsight does not know
 * @see https://huggingface.co/docs/safetensors
 */
export function parseSafetensorsHeader(bytes: Uint8Array, fileSize: number): SafetensorsHeader {
  const headerLength = safetensorsHeaderLength(bytes, fileSize);
  const dataStart = 8 + headerLength;
  if (bytes.length < dataStart) throw corrupt(`the header ends after ${bytes.length} of ${dataStart} bytes`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(8, dataStart));
  } catch (cause) {
    throw corrupt("the header is not UTF-8", cause);
  }
  const { entries, metadata } = parseHeaderText(text, dataStart);

  const inOrder = [...entries].sort(([, a], [, b]) => a.offset - b.offset || a.length - b.length);
  let end = dataStart;
  for (const [name, entry] of inOrder) {
    if (entry.offset !== end) {
      const what =
        entry.offset < end ? "overlaps the tensor before it" : `leaves a hole of ${entry.offset - end} bytes`;
      throw corrupt(`${quote(name)} ${what}`);
    }
    end += entry.length;
  }
  if (end !== fileSize) throw corrupt(`the tensors end at byte ${end} of a file of ${fileSize}`);
  return { headerLength, entries, metadata: Object.fromEntries(metadata) };
}

/**
 * Decodes a whole file. The tensors are views of `bytes` where their alignment allows it.
 * @throws FILE_CORRUPT, DTYPE_UNSUPPORTED
 */
export function decodeSafetensors(bytes: Uint8Array): {
  tensors: Map<string, Tensor>;
  metadata: Record<string, string>;
} {
  const { entries, metadata } = parseSafetensorsHeader(bytes, bytes.length);
  const tensors = new Map<string, Tensor>();
  for (const [name, { dtype, dims, offset, length }] of entries) {
    tensors.set(name, new Tensor(dtype, dims, viewBytes(dtype, bytes.subarray(offset, offset + length))));
  }
  return { tensors, metadata };
}

/** What a header says of a tensor. */
export interface TensorShape {
  dtype: DType;
  dims: Dims;
}

/**
 * A file's beginning, for writing tensors one by one after it: in the reference writer's order, wide types first, then by
 * name, padded with spaces to 8 bytes.
 * @returns the bytes, and where each tensor's own begin after them, in the file's order
 * @throws TENSOR_NAME when two tensors have one name, or one is called "__metadata__"
 */
export function encodeSafetensorsHeader(
  tensors: Iterable<readonly [string, TensorShape]>,
  metadata?: Record<string, string>,
): { header: Uint8Array; offsets: Map<string, number>; length: number } {
  const named = [...tensors];
  const rank = ({ dtype }: TensorShape): number => layout.indexOf(dtype);
  named.sort(([a, x], [b, y]) => rank(x) - rank(y) || (a < b ? -1 : a > b ? 1 : 0));

  const fields: string[] = [];
  if (metadata && Object.keys(metadata).length > 0) fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  const offsets = new Map<string, number>();
  let end = 0;
  for (const [name, { dtype, dims }] of named) {
    if (offsets.has(name) || name === "__metadata__") {
      throw misuse("TENSOR_NAME", `A safetensors file cannot hold ${quote(name)} (again).`);
    }
    offsets.set(name, end);
    const range = [end, (end += count(dims) * byteSize(dtype))];
    const info = { dtype: dtype.toUpperCase(), shape: dims, data_offsets: range };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(info)}`);
  }
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const headerLength = Math.ceil(json.length / 8) * 8;
  if (headerLength > maxHeaderLength) {
    throw failure("FILE_TOO_LARGE", `${named.length} tensors need a header over ${maxHeaderLength} bytes.`);
  }
  const header = new Uint8Array(8 + headerLength).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(headerLength), true);
  header.set(json, 8);
  return { header, offsets, length: end };
}

/**
 * Encodes tensors as the reference writer does: wide types first, then by name, the header padded with spaces to 8 bytes.
 * @throws TENSOR_NAME when two tensors have one name, or one is called "__metadata__"
 */
export function encodeSafetensors(
  tensors: Iterable<readonly [string, Tensor]> | Record<string, Tensor>,
  metadata?: Record<string, string>,
): Uint8Array {
  const named = Symbol.iterator in tensors ? [...tensors] : Object.entries(tensors);
  const { header, offsets, length } = encodeSafetensorsHeader(named, metadata);
  const bytes = allocate("u8", header.length + length) as Uint8Array;
  bytes.set(header);
  for (const [name, { data }] of named) {
    const own = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    bytes.set(own, header.length + offsets.get(name)!);
  }
  return bytes;
}

/**
 * A parser of just the JSON that a header may hold: `JSON.parse` would let a name through twice, and build whatever
 * a hostile file nests.
 */
function parseHeaderText(text: string, dataStart: number) {
  const entries = new Map<string, SafetensorsEntry>();
  const metadata = new Map<string, string>();
  let hasMetadata = false;
  let at = 0;

  const unexpected = (wanted: string): DiffsightError => {
    const found = at < text.length ? JSON.stringify(text.slice(at, at + 12)) : "the end";
    return corrupt(`the header has ${found} at byte ${at + 8} where ${wanted} belongs`);
  };
  const skipSpace = (): void => {
    while (isSpace(text.charCodeAt(at))) at++;
  };
  const accept = (char: string): boolean => {
    skipSpace();
    if (text[at] !== char) return false;
    at++;
    return true;
  };
  const expect = (char: string): void => {
    if (!accept(char)) throw unexpected(`"${char}"`);
  };
  const string = (): string => {
    skipSpace();
    if (text[at] !== '"') throw unexpected("a string");
    let end = text.indexOf('"', at + 1);
    while (end !== -1 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
    if (end === -1) throw unexpected("a string");
    try {
      const value = JSON.parse(text.slice(at, end + 1)) as string;
      at = end + 1;
      return value;
    } catch {
      throw unexpected("a string");
    }
  };
  const integer = (): number => {
    skipSpace();
    const from = at;
    while (isDigit(text.charCodeAt(at))) at++;
    const digits = text.slice(from, at);
    const value = Number(digits);
    if (digits === "" || (digits[0] === "0" && digits !== "0") || !Number.isSafeInteger(value)) {
      at = from;
      throw unexpected("a whole number from 0 to 2^53 - 1");
    }
    return value;
  };
  const members = (read: (name: string) => void): void => {
    expect("{");
    if (accept("}")) return;
    do {
      const name = string();
      expect(":");
      read(name);
    } while (accept(","));
    expect("}");
  };
  const integers = (): number[] => {
    expect("[");
    const values: number[] = [];
    if (accept("]")) return values;
    do values.push(integer());
    while (accept(","));
    expect("]");
    return values;
  };

  const tensor = (name: string): SafetensorsEntry => {
    let type: string | undefined;
    let dims: number[] | undefined;
    let range: number[] | undefined;
    members((field) => {
      if (field === "dtype" && type === undefined) type = string();
      else if (field === "shape" && dims === undefined) dims = integers();
      else if (field === "data_offsets" && range === undefined) range = integers();
      else
        throw corrupt(
          `${quote(name)} has the field ${quote(field)} (again); dtype, shape and data_offsets are allowed`,
        );
    });
    if (type === undefined || dims === undefined || range === undefined) {
      throw corrupt(`${quote(name)} lacks one of dtype, shape and data_offsets`);
    }
    const dtype = byName.get(type);
    if (!dtype) {
      if (!unsupported.has(type)) throw corrupt(`${quote(name)} has the unknown type ${quote(type)}`);
      const known = layout.map((known) => known.toUpperCase()).join(", ");
      throw failure(
        "DTYPE_UNSUPPORTED",
        `The tensor ${quote(name)} is ${type}, which is not supported; known are ${known}.`,
      );
    }
    const [begin = -1, end = -1] = range;
    const length = safeByteLength(dims, dtype);
    if (range.length !== 2 || end - begin !== length) {
      throw corrupt(
        `${quote(name)}, ${type} ${formatDims(dims.slice(0, 8))}, has the byte range ${formatDims(range.slice(0, 3))}`,
      );
    }
    return { dtype, dims, offset: dataStart + begin, length };
  };

  members((name) => {
    if (name === "__metadata__") {
      if (hasMetadata) throw corrupt("__metadata__ stands twice");
      hasMetadata = true;
      members((key) => {
        if (metadata.has(key)) throw corrupt(`__metadata__ has ${quote(key)} twice`);
        metadata.set(key, string());
      });
    } else {
      if (entries.has(name)) throw corrupt(`${quote(name)} stands twice`);
      entries.set(name, tensor(name));
    }
  });
  skipSpace();
  if (at < text.length) throw unexpected("the end");
  return { entries, metadata };
}

const isSpace = (code: number): boolean => code === 32 || code === 9 || code === 10 || code === 13;

const isDigit = (code: number): boolean => code >= 48 && code <= 57;

/** Whether an odd number of backslashes stands before this character. */
function isEscaped(text: string, at: number): boolean {
  let from = at;
  while (text[from - 1] === "\\") from--;
  return (at - from) % 2 === 1;
}

/** Bytes of a tensor, or NaN when they cannot be counted exactly. */
function safeByteLength(dims: Dims, dtype: DType): number {
  let bytes = byteSize(dtype);
  for (const size of dims) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) return Number.NaN;
  }
  return bytes;
}

function quote(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}...` : name);
}

function corrupt(what: string, cause?: unknown): DiffsightError {
  return failure("FILE_CORRUPT", `Not a valid safetensors file: ${what}.`, cause);
}
