/** @file HTTP: requests that wait and try again, bodies that may not stall, files read by ranges. */

import { aborted, DiffsightError, failure } from "../tensor/index.js";
import type { WeightFile } from "./source.js";

export interface HttpOptions {
  method?: string;
  headers?: Record<string, string>;
  redirect?: RequestRedirect;
  signal?: AbortSignal | undefined;
  /** Milliseconds without an answer, or without a byte of it, before giving up or trying again. */
  timeout?: number;
  /** Requests before giving up on a server that does not answer or answers 408, 429 or 5xx. */
  attempts?: number;
}

const firstDelay = 250;
const longestDelay = 30_000;

/**
 * Sends a request; waits 0.25, 0.5, 1, ... s between attempts, or as long as the server's `Retry-After` asks.
 * @returns an answer of any status but 408, 429 and 5xx
 * @throws NETWORK, ABORTED
 */
export async function request(url: string, options: HttpOptions = {}): Promise<Response> {
  const { signal, timeout = 10_000, attempts = 5, ...init } = options;
  for (let attempt = 1; ; attempt++) {
    const { response, error, controller } = await tryOnce(url, init, timeout, signal);
    const busy = response && (response.status === 408 || response.status === 429 || response.status >= 500);
    if (response && !busy) return response;
    controller.abort();
    const problem = response ? `answered ${response.status}` : `could not be reached (${reason(error)})`;
    if (attempt >= attempts) throw failure("NETWORK", `${new URL(url).host} ${problem}.`, error);
    const asked = Number(response?.headers.get("retry-after") ?? 0) * 1000 || 0;
    await pause(Math.min(Math.max(firstDelay * 2 ** (attempt - 1), asked), longestDelay), signal);
  }
}

async function tryOnce(url: string, init: RequestInit, timeout: number, signal: AbortSignal | undefined) {
  if (signal?.aborted) throw aborted();
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new Error(`no answer in ${timeout / 1000} s`)), timeout);
  const either = signal ? AbortSignal.any([signal, controller.signal]) : controller.signal;
  try {
    return { response: await fetch(url, { ...init, signal: either }), controller };
  } catch (error) {
    if (signal?.aborted) throw aborted();
    return { error, controller };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The pieces of a body as they come.
 * @throws NETWORK when it breaks off, or nothing comes for `timeout` milliseconds; ABORTED
 */
export async function* pieces(
  response: Response,
  { signal, timeout = 10_000 }: Pick<HttpOptions, "signal" | "timeout"> = {},
): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    for (;;) {
      const stalled = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`nothing came for ${timeout / 1000} s`)), timeout);
      });
      const { done, value } = await Promise.race([reader.read(), stalled]);
      clearTimeout(timer);
      if (signal?.aborted) throw aborted();
      if (done) return;
      yield value;
    }
  } catch (error) {
    if (signal?.aborted) throw aborted();
    if (error instanceof DiffsightError) throw error;
    throw failure(
      "NETWORK",
      `The connection to ${new URL(response.url).host} broke off (${reason(error)}).`,
      error,
    );
  } finally {
    clearTimeout(timer);
    await reader.cancel().catch(() => {});
  }
}

/** Waits. @throws ABORTED */
export async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) throw aborted();
  await new Promise<void>((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(aborted());
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Enough for the headers of most weight files, and for most configs whole. */
const headLength = 1 << 16;

/**
 * A file on a server, read by ranges; where the server knows no ranges it is fetched whole.
 * @param explain makes the error of an answer that is no file
 * @returns undefined when there is no such file (404, or a web page in its place, as development servers answer)
 */
export async function remoteFile(
  url: string,
  options: HttpOptions,
  explain: (response: Response) => DiffsightError,
): Promise<WeightFile | undefined> {
  const range = (offset: number, length: number): Promise<Response> =>
    request(url, {
      ...options,
      headers: { ...options.headers, Range: `bytes=${offset}-${offset + length - 1}` },
    });
  const response = await range(0, headLength);
  const [, total] = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "") ?? [];
  if (response.status === 416 && total === "0")
    return { location: url, size: 0, read: async () => new Uint8Array(0) };
  if (response.status === 404 || isPage(response, url)) return undefined;
  if (!response.ok) throw explain(response);
  const head = await wholeBody(response, options);
  const size = response.status === 206 ? Number(total) : head.length;
  if (!Number.isSafeInteger(size)) throw failure("NETWORK", `${url} does not say how long it is.`);
  return {
    location: url,
    size,
    async read(offset, length) {
      if (offset + length > size)
        throw failure("FILE_CORRUPT", `${url} ends before byte ${offset + length}.`);
      if (offset + length <= head.length) return head.subarray(offset, offset + length);
      const part = await range(offset, length);
      if (part.status !== 206) throw explain(part);
      const bytes = await wholeBody(part, options);
      if (bytes.length !== length)
        throw failure("NETWORK", `${url} sent ${bytes.length} of ${length} bytes.`);
      return bytes;
    },
  };
}

async function wholeBody(response: Response, options: HttpOptions): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces(response, options)) parts.push(piece);
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function isPage(response: Response, url: string): boolean {
  const type = response.headers.get("content-type") ?? "";
  return response.ok && type.startsWith("text/html") && !/\.html?$/.test(new URL(url).pathname);
}

/** What went wrong, in a few words: the system's code where there is one. */
function reason(error: unknown): string {
  const { message, cause } = error as Error;
  const inner = cause as (Error & { code?: string }) | undefined;
  return inner?.code ?? (inner?.message || message || String(error));
}
