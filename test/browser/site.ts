/** @file A web server of plain folders, as a user would have one: types, ranges, and headers when asked for. */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";

const types: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
  ".png": "image/png",
};

/** Lets a page's threads share memory. */
export const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export interface Site {
  /** "http://127.0.0.1:4000/" */
  url: string;
  /** The paths that were asked for so far. */
  asked: string[];
  close(): Promise<void>;
}

/**
 * Serves folders on a free port of this machine.
 * @param folders address ("/" or "/golden/") -> folder; the longest that fits wins
 */
export async function serve(
  folders: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>> = {},
): Promise<Site> {
  const prefixes = Object.keys(folders).sort((a, b) => b.length - a.length);
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url!, "http://localhost");
    asked.push(pathname);
    const prefix = prefixes.find((one) => pathname.startsWith(one));
    const inside = decodeURIComponent(pathname.slice(prefix?.length)) || "index.html";
    const file = path.join(folders[prefix ?? "/"] ?? "", path.normalize(`/${inside}`));
    const bytes = prefix === undefined ? undefined : await readFile(file).catch(() => undefined);
    if (!bytes) return response.writeHead(404, headers).end();
    const type = types[path.extname(file)] ?? "application/octet-stream";
    const common = { ...headers, "Content-Type": type, "Accept-Ranges": "bytes" };
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (from === undefined) return response.writeHead(200, common).end(bytes);
    const part = bytes.subarray(Number(from), Number(to) + 1);
    const range = `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}`;
    return response.writeHead(206, { ...common, "Content-Range": range }).end(part);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    asked,
    close: () => {
      server.closeAllConnections();
      return new Promise((done) => server.close(() => done()));
    },
  };
}
