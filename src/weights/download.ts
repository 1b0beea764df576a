/**
 * @file One large download: resumed where it broke off, checked, and safe beside other processes that want the same file.
 *
 * The bytes gather in `<blob>.diffsight-<random>.incomplete`. Whoever downloads keeps the file's time fresh; a file
 * whose time is old has been left behind, and is taken over by renaming it, which succeeds for one process only.
 * The contents behind a blob's name never change, so that a Range needs no If-Range (a CDN's etag would not match).
 */

import { createHash, type Hash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, readdir, rename, rm, stat, statfs, utimes } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DiffsightError, failure } from "../tensor/index.js";
import { isFile } from "./files.js";
import { type HttpOptions, pause, pieces, request } from "./http.js";

export interface Download {
  url: string;
  /** Where the file goes. */
  blob: string;
  /** Bytes. */
  size: number;
  sha256: string | undefined;
  http: HttpOptions;
  /** The error of an answer that is no success. */
  explain(response: Response): DiffsightError;
  onProgress(loaded: number): void;
}

/** A partial file that nobody has touched for so long has no owner; milliseconds. */
const abandonedAfter = 15_000;
const heartbeat = 3_000;
const reportEvery = 100;
const attempts = 5;

/** @throws NETWORK, DOWNLOAD_CORRUPT, DISK_FULL, ABORTED, and what `explain` makes; the partial file stays for the next time */
export async function downloadBlob(download: Download): Promise<void> {
  const { blob } = download;
  const partial = await takePartial(download);
  if (partial === undefined) return;
  const touch = (time: Date): Promise<void> => utimes(partial, time, time).catch(() => {});
  const timer = setInterval(() => touch(new Date()), heartbeat);
  try {
    await fill(partial, download);
    await rename(partial, blob);
  } catch (error) {
    if ((error as DiffsightError).code === "DOWNLOAD_CORRUPT") await rm(partial, { force: true });
    else await touch(new Date(0));
    throw error;
  } finally {
    clearInterval(timer);
  }
}

/**
 * Makes a partial file of our own, from one that was left behind if there is one; waits while another process works.
 * @returns undefined when another process has finished the blob meanwhile
 */
async function takePartial({ blob, http, onProgress }: Download): Promise<string | undefined> {
  const folder = dirname(blob);
  const prefix = `${basename(blob)}.diffsight-`;
  const own = join(folder, `${prefix}${randomUUID().slice(0, 8)}.incomplete`);
  for (;;) {
    if (await isFile(blob)) return undefined;
    const partials = (await readdir(folder)).filter(
      (name) => name.startsWith(prefix) && name.endsWith(".incomplete"),
    );
    const [other] = partials.map((name) => join(folder, name));
    if (other === undefined) {
      await (await open(own, "wx")).close();
      return own;
    }
    const found = await stat(other).catch(() => undefined);
    if (found && Date.now() - found.mtimeMs > abandonedAfter) {
      const taken = await rename(other, own).then(
        () => true,
        () => false,
      );
      if (taken) {
        await utimes(own, new Date(), new Date());
        return own;
      }
    } else if (found) {
      onProgress(found.size);
    }
    await pause(300, http.signal);
  }
}

/** Fetches what is missing, and checks the whole. A file that is wrong in the end is fetched once more from nothing. */
async function fill(partial: string, download: Download): Promise<void> {
  const file = await open(partial, "r+");
  try {
    const { size: had } = await file.stat();
    await needSpace(partial, download.size - had);
    for (const from of had > 0 && had <= download.size ? [had, 0] : [0, 0]) {
      const hash = createHash("sha256");
      if (from > 0)
        for await (const piece of createReadStream(partial, { end: from - 1 })) hash.update(piece);
      else await file.truncate(0);
      const digest = (await fetchRest(file, from, hash, download)).digest("hex");
      if (download.sha256 === undefined || digest === download.sha256) {
        await file.sync();
        return;
      }
    }
  } finally {
    await file.close();
  }
  throw failure(
    "DOWNLOAD_CORRUPT",
    `${download.url} came twice with another SHA-256 than ${download.sha256}.`,
  );
}

/** Writes bytes from `position` to the end; goes on where the connection broke off. @returns the hash of all bytes */
async function fetchRest(file: FileHandle, position: number, hash: Hash, download: Download): Promise<Hash> {
  const { url, size, http, explain, onProgress } = download;
  let furthest = position;
  let reported = 0;
  for (let failures = 0; position < size; ) {
    const headers = { ...http.headers, "Accept-Encoding": "identity", Range: `bytes=${position}-` };
    const response = await request(url, { ...http, headers });
    if (!response.ok) throw explain(response);
    const range = response.headers.get("content-range");
    if (response.status === 206 && !range?.startsWith(`bytes ${position}-`)) {
      throw failure(
        "NETWORK",
        `${url} sent ${range ?? "some range"} where bytes ${position}- were asked for.`,
      );
    }
    if (response.status !== 206 && position > 0) {
      // No ranges here: all of it comes again.
      position = 0;
      hash = createHash("sha256");
    }
    try {
      for await (const piece of pieces(response, http)) {
        if (position + piece.length > size)
          throw failure("DOWNLOAD_CORRUPT", `${url} is longer than its ${size} bytes.`);
        await file.write(piece, 0, piece.length, position);
        hash.update(piece);
        position += piece.length;
        if (Date.now() - reported >= reportEvery || position === size) {
          reported = Date.now();
          onProgress(position);
        }
      }
      if (position < size) throw failure("NETWORK", `${url} ended after ${position} of ${size} bytes.`);
    } catch (error) {
      if (!(error instanceof DiffsightError) || error.code !== "NETWORK") throw error;
      failures = position > furthest ? 1 : failures + 1;
      furthest = Math.max(furthest, position);
      if (failures >= attempts) throw error;
      await pause(250 * 2 ** failures, http.signal);
    }
  }
  return hash;
}

/** @throws DISK_FULL before the disk is */
async function needSpace(path: string, bytes: number): Promise<void> {
  const disk = await statfs(path).catch(() => undefined);
  const free = disk ? disk.bavail * disk.bsize : Number.POSITIVE_INFINITY;
  if (free < bytes) {
    const needs = `${(bytes / 1e9).toFixed(2)} GB`;
    throw failure(
      "DISK_FULL",
      `${dirname(path)} has ${(free / 1e9).toFixed(2)} GB free; the download needs ${needs}.`,
    );
  }
}
