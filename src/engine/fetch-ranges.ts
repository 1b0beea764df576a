/** @file Fetching many ranges of files on a web server with few requests. */

import type { FileRange } from "../graph/index.js";
import { aborted, failure } from "../tensor/index.js";

/** The longest request for several ranges; a longer range is fetched alone. */
const longestRequest = 64 * 2 ** 20;

/** Bytes between two ranges that are fetched along rather than asking twice. */
const widestGap = 2 ** 16;

/**
 * Fetches ranges, neighbours together and each once though it be named twice. A server that knows no ranges sends each
 * file whole, once.
 * @throws DiffsightError NETWORK, ABORTED
 */
export async function* fetchRanges(
  ranges: readonly FileRange[],
  signal: AbortSignal,
): AsyncGenerator<{ range: FileRange; bytes: Uint8Array }> {
  let whole: { file: string; bytes: Uint8Array } | undefined;
  for (const together of groups(ranges)) {
    const { file, offset } = together[0]!;
    const end = Math.max(...together.map((range) => range.offset + range.length));
    let bytes = whole?.file === file ? whole.bytes.subarray(offset, end) : undefined;
    if (!bytes) {
      const answer = await request(file, offset, end, signal);
      if (!answer.partial) whole = { file, bytes: answer.bytes };
      bytes = answer.partial ? answer.bytes : answer.bytes.subarray(offset, end);
    }
    if (bytes.length !== end - offset) {
      throw failure("NETWORK", `${file} sent ${bytes.length} bytes from ${offset} on, not ${end - offset}.`);
    }
    for (const range of together) {
      const from = range.offset - offset;
      yield { range, bytes: bytes.subarray(from, from + range.length) };
    }
  }
}

async function request(file: string, offset: number, end: number, signal: AbortSignal) {
  try {
    const response = await fetch(file, { headers: { Range: `bytes=${offset}-${end - 1}` }, signal });
    if (!response.ok) throw failure("NETWORK", `${file} answered ${response.status}.`);
    return { partial: response.status === 206, bytes: new Uint8Array(await response.arrayBuffer()) };
  } catch (cause) {
    if (signal.aborted) throw aborted();
    if (!(cause instanceof TypeError)) throw cause;
    throw failure("NETWORK", `${file} cannot be fetched (${cause.message}).`, cause);
  }
}

/** Ranges of one request each, in the order of their files. */
function groups(ranges: readonly FileRange[]): FileRange[][] {
  const unique = new Map(ranges.map((range) => [`${range.file} ${range.offset} ${range.length}`, range]));
  const inOrder = [...unique.values()].sort((a, b) =>
    a.file === b.file ? a.offset - b.offset : a.file < b.file ? -1 : 1,
  );
  const result: FileRange[][] = [];
  let end = 0;
  for (const range of inOrder) {
    const first = result.at(-1)?.[0];
    const reach = range.offset + range.length;
    const near = first?.file === range.file && range.offset - end <= widestGap;
    if (near && reach - first.offset <= longestRequest) result.at(-1)!.push(range);
    else result.push([range]);
    end = first?.file === range.file ? Math.max(end, reach) : reach;
  }
  return result;
}
