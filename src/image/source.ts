/** @file Fetching an image's bytes from an address, on any host, up to a limit. */

import { aborted, DiffsightError, failure } from "../tensor/index.js";
import { ImageFault } from "./header.js";

export interface SourceOptions {
  /** Most bytes to read. */
  bytes: number;
  signal?: AbortSignal | undefined;
}

/** More encoded bytes than allowed: told before they are all read. */
export function tooManyBytes(limit: number, found?: number): ImageFault {
  const size = found === undefined ? `more than ${limit} bytes` : `${found} bytes; at most ${limit} are`;
  return new ImageFault(
    "IMAGE_TOO_LARGE",
    `it has ${size}${found === undefined ? ", the most that is" : ""} allowed.`,
  );
}

/**
 * Reads a `http:`, `https:`, `data:` or `blob:` address.
 * @throws DiffsightError FILE_NOT_FOUND, NETWORK, ABORTED; ImageFault IMAGE_TOO_LARGE
 */
export async function fetchBytes(
  address: string | URL,
  { bytes, signal }: SourceOptions,
): Promise<Uint8Array> {
  try {
    const response = await fetch(address, signal ? { signal } : {});
    if (!response.ok) {
      await response.body?.cancel();
      const missing = response.status === 404 || response.status === 410;
      throw failure(missing ? "FILE_NOT_FOUND" : "NETWORK", `the server answered ${response.status}.`);
    }
    const announced = Number(response.headers.get("content-length") ?? 0);
    if (announced > bytes) throw tooManyBytes(bytes, announced);
    return response.body ? await collect(response.body, bytes) : new Uint8Array();
  } catch (cause) {
    if (cause instanceof DiffsightError || cause instanceof ImageFault) throw cause;
    if (signal?.aborted) throw aborted();
    throw failure("NETWORK", `it cannot be fetched (${reason(cause)}).`, cause);
  }
}

/** Gathers a stream's chunks, up to a limit. */
export async function collect(chunks: AsyncIterable<Uint8Array>, limit: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of chunks) {
    length += part.length;
    if (length > limit) throw tooManyBytes(limit);
    parts.push(part);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The first line of what went wrong. */
export function reason(cause: unknown): string {
  const error = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
}
