import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { FileRange } from "../graph/index.js";
import { fetchRanges } from "./fetch-ranges.js";

const megabyte = 2 ** 20;

/** Stands in for a web server of these files; tells what was asked for. */
function serve(files: Record<string, Uint8Array>, { ranges = true } = {}): string[] {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (url: string, { headers, signal }: RequestInit) => {
    signal?.throwIfAborted();
    const range = (headers as { Range: string }).Range;
    asked.push(`${url} ${range}`);
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range)!;
    const bytes = files[url];
    if (!bytes) return new Response("", { status: 404 });
    const part = ranges ? bytes.slice(Number(from), Number(to) + 1) : bytes;
    return new Response(part as Uint8Array<ArrayBuffer>, { status: ranges ? 206 : 200 });
  });
  return asked;
}

async function collect(ranges: readonly FileRange[], signal = new AbortController().signal) {
  const found: { range: FileRange; bytes: Uint8Array }[] = [];
  for await (const one of fetchRanges(ranges, signal)) found.push(one);
  return found;
}

const counted = (length: number) => Uint8Array.from({ length }, (_, i) => i * 31 + (i >> 8));

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("ranges of files on a web server", () => {
  it("come as they lie in the files, each once, whether the server knows ranges or not", async () => {
    const files = { "/a": counted(1000), "/b": counted(777) };
    const range = fc
      .tuple(fc.constantFrom("/a", "/b"), fc.nat(700), fc.integer({ min: 1, max: 77 }))
      .map(([file, offset, length]): FileRange => ({ file, offset, length }));
    await fc.assert(
      fc.asyncProperty(fc.array(range, { maxLength: 20 }), fc.boolean(), async (ranges, knows) => {
        serve(files, { ranges: knows });
        const found = await collect(ranges);
        const key = ({ file, offset, length }: FileRange) => `${file} ${offset} ${length}`;
        expect(found.map((one) => key(one.range)).sort()).toEqual([...new Set(ranges.map(key))].sort());
        for (const { range, bytes } of found) {
          const { file, offset, length } = range;
          expect(bytes).toEqual(files[file as "/a" | "/b"].subarray(offset, offset + length));
        }
      }),
    );
  });

  it("that are neighbours share a request, as long as it stays short", async () => {
    const asked = serve({ "/a": new Uint8Array(100 * megabyte) });
    await collect([
      { file: "/a", offset: 40 * megabyte, length: 40 * megabyte },
      { file: "/a", offset: 100, length: 50 },
      { file: "/a", offset: 160, length: 40 },
      { file: "/a", offset: megabyte, length: 39 * megabyte },
    ]);
    expect(asked).toEqual([
      "/a bytes=100-199",
      `/a bytes=${megabyte}-${40 * megabyte - 1}`,
      `/a bytes=${40 * megabyte}-${80 * megabyte - 1}`,
    ]);
  });

  it("a whole file that a server sends instead is not asked for again", async () => {
    const asked = serve({ "/a": counted(megabyte) }, { ranges: false });
    await collect([
      { file: "/a", offset: 0, length: 10 },
      { file: "/a", offset: 500_000, length: 10 },
    ]);
    expect(asked.length).toBe(1);
  });

  it("that are missing, cut off or no longer wanted are errors", async () => {
    serve({ "/a": counted(100) });
    await expect(collect([{ file: "/none", offset: 0, length: 1 }])).rejects.toMatchObject({
      code: "NETWORK",
      message: "/none answered 404.",
    });
    await expect(collect([{ file: "/a", offset: 90, length: 20 }])).rejects.toMatchObject({
      code: "NETWORK",
      message: "/a sent 10 bytes from 90 on, not 20.",
    });
    vi.stubGlobal("fetch", async () => {
      throw new TypeError("Failed to fetch");
    });
    await expect(collect([{ file: "/a", offset: 0, length: 1 }])).rejects.toMatchObject({
      code: "NETWORK",
      message: "/a cannot be fetched (Failed to fetch).",
    });
    serve({ "/a": counted(100) });
    await expect(collect([{ file: "/a", offset: 0, length: 1 }], AbortSignal.abort())).rejects.toMatchObject({
      code: "ABORTED",
    });
  });
});
