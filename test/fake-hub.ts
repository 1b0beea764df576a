/** @file A local server that speaks the hub's protocol: the API, `resolve` with its headers, large files on another host. */

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface FakeModel {
  /** path -> contents; weight files lie on the "CDN", as in LFS. */
  files: Record<string, Uint8Array>;
  commit: string;
  gated?: boolean;
  /** The model has moved to this id. */
  movedTo?: string;
}

const isLarge = (path: string): boolean => /\.(safetensors|bin)$/.test(path);
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const gitSha1 = (bytes: Uint8Array): string =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

export class FakeHub {
  /** Every request: "GET hub /api/models/..." */
  readonly log: string[] = [];
  /** The Authorization headers that each host saw. */
  readonly tokens: { hub: Set<string>; cdn: Set<string> } = { hub: new Set(), cdn: new Set() };
  /** Called before each answer; what it answers itself is not answered again. */
  intercept: (host: "hub" | "cdn", request: IncomingMessage, response: ServerResponse) => boolean = () =>
    false;
  /** The connection breaks off after so many bytes of a large file. */
  breakAfter: number[] = [];
  /** The size that is announced in place of the true one. */
  announcedSize: number | undefined;
  readonly #blobs = new Map<string, Uint8Array>();
  readonly #hub: Server;
  readonly #cdn: Server;

  private constructor(readonly models: Record<string, FakeModel>) {
    this.#hub = createServer((request, response) => this.#answer("hub", request, response));
    this.#cdn = createServer((request, response) => this.#answer("cdn", request, response));
    for (const { files } of Object.values(models)) {
      for (const bytes of Object.values(files)) this.#blobs.set(sha256(bytes), bytes);
    }
  }

  static async start(models: Record<string, FakeModel>): Promise<FakeHub> {
    const hub = new FakeHub(models);
    for (const server of [hub.#hub, hub.#cdn])
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return hub;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }

  /** How often this was asked for. */
  count(pattern: RegExp): number {
    return this.log.filter((line) => pattern.test(line)).length;
  }

  #answer(host: "hub" | "cdn", request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(request.url ?? "/");
    this.log.push(`${request.method} ${host} ${path} ${request.headers.range ?? ""}`.trim());
    if (request.headers.authorization) this.tokens[host].add(request.headers.authorization);
    if (this.intercept(host, request, response)) return;
    if (host === "cdn") this.#sendRange(this.#blobs.get(path.slice(1))!, request, response);
    else this.#answerHub(path, request, response);
  }

  #answerHub(path: string, request: IncomingMessage, response: ServerResponse): void {
    const api = /^\/api\/models\/(.+)\/revision\/(.+)$/.exec(path);
    const resolve = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path);
    const [, id, revision, file] = api ?? resolve ?? [];
    const model = this.models[id!];
    if (!model) return void fail(response, 401, "RepoNotFound");
    if (revision !== "main" && revision !== model.commit) return void fail(response, 404, "RevisionNotFound");
    if (model.movedTo) {
      const moved = (request.url ?? "").replace(id!, model.movedTo);
      return void response.writeHead(307, { Location: moved }).end();
    }
    if (api) {
      const siblings = Object.keys(model.files).map((rfilename) => ({ rfilename }));
      response.setHeader("Content-Type", "application/json");
      return void response.end(JSON.stringify({ id, sha: model.commit, siblings }));
    }
    if (model.gated && request.headers.authorization !== "Bearer good")
      return void fail(response, 403, "GatedRepo");
    const bytes = model.files[file!];
    if (!bytes) return void fail(response, 404, "EntryNotFound");
    response.setHeader("X-Repo-Commit", model.commit);
    if (isLarge(file!)) {
      response.setHeader("X-Linked-Etag", `"${sha256(bytes)}"`);
      response.setHeader("X-Linked-Size", this.announcedSize ?? bytes.length);
      response.setHeader("ETag", `"${gitSha1(bytes)}"`);
      const cdn = `http://127.0.0.1:${(this.#cdn.address() as AddressInfo).port}`;
      return void response.writeHead(302, { Location: `${cdn}/${sha256(bytes)}` }).end();
    }
    response.setHeader("ETag", `W/"${gitSha1(bytes)}"`);
    this.#sendRange(bytes, request, response);
  }

  #sendRange(bytes: Uint8Array, request: IncomingMessage, response: ServerResponse): void {
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
    const start = Number(from ?? 0);
    const end = to ? Math.min(Number(to) + 1, bytes.length) : bytes.length;
    if (from !== undefined && start >= bytes.length) {
      return void response.writeHead(416, { "Content-Range": `bytes */${bytes.length}` }).end();
    }
    const headers: Record<string, string | number> = { "Content-Length": end - start };
    if (from !== undefined) headers["Content-Range"] = `bytes ${start}-${end - 1}/${bytes.length}`;
    response.writeHead(from === undefined ? 200 : 206, headers);
    if (request.method === "HEAD") return void response.end();
    const cut = bytes.length > 1000 ? this.breakAfter.shift() : undefined;
    if (cut === undefined) return void response.end(bytes.subarray(start, end));
    response.write(bytes.subarray(start, Math.min(start + cut, end)), () =>
      setTimeout(() => response.destroy(), 20),
    );
  }
}

function fail(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "X-Error-Code": code, "X-Error-Message": code }).end();
}
