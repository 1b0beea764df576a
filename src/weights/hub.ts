/**
 * @file The Hugging Face cache, in the layout that Python's huggingface_hub uses, so that each finds what the other
 * downloaded: models--org--name/{refs/<revision>, blobs/<etag>, snapshots/<commit>/<path> -> blob}.
 */

import { copyFile, lstat, mkdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { DiffsightError, failure } from "../tensor/index.js";
import { downloadBlob } from "./download.js";
import { fileError, folderTree, isFile, openFile, writeFileAtomic } from "./files.js";
import { type HttpOptions, remoteFile, request } from "./http.js";
import { type HubModel, hubError, hubFileUrl, hubHeaders, isPlainPath, listHubModel } from "./hub-api.js";
import { expand, hubCacheFolder, hubHome } from "./hub-cache.js";
import type { FileTree, SourceOptions, WeightFile } from "./source.js";

interface HubSettings {
  endpoint: string;
  cacheDir: string;
  token: string | undefined;
  offline: boolean;
  /** Milliseconds without an answer, when asking what is there. */
  askTimeout: number;
  /** Milliseconds without a byte, when downloading. */
  downloadTimeout: number;
}

/** Options, and the variables that huggingface_hub reads. */
async function hubSettings(options: SourceOptions): Promise<HubSettings> {
  const { env } = process;
  const isTrue = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? "");
  const seconds = (value: string | undefined): number => (Number(value) > 0 ? Number(value) : 10) * 1000;
  const savedToken = async (): Promise<string | undefined> => {
    if (isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
    const file = expand(env.HF_TOKEN_PATH ?? join(hubHome(), "token"));
    return env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || readFile(file, "utf8").catch(() => undefined);
  };
  return {
    endpoint: (env.HF_ENDPOINT || "https://huggingface.co").replace(/\/+$/, ""),
    cacheDir: hubCacheFolder(options.cacheDir),
    token: (options.token || (await savedToken()))?.trim() || undefined,
    offline: options.localFilesOnly || isTrue(env.HF_HUB_OFFLINE) || isTrue(env.TRANSFORMERS_OFFLINE),
    askTimeout: seconds(env.HF_HUB_ETAG_TIMEOUT),
    downloadTimeout: seconds(env.HF_HUB_DOWNLOAD_TIMEOUT),
  };
}

/**
 * Opens a model by its id. A revision is looked up at once; when the hub cannot be reached, what the cache knows is used.
 * @throws HUB_ACCESS, HUB_MISSING, OFFLINE, NETWORK, ABORTED
 */
export async function openHub(id: string, options: SourceOptions): Promise<FileTree> {
  const settings = await hubSettings(options);
  const revision = options.revision ?? "main";
  if (!isPlainPath(revision)) throw failure("HUB_MISSING", `"${revision}" cannot be a revision of ${id}.`);
  const model: HubModel = { endpoint: settings.endpoint, id, revision, token: settings.token };
  const root = join(settings.cacheDir, `models--${id.replaceAll("/", "--")}`);
  const cached = await cachedCommit(root, revision);

  if (settings.offline) {
    if (cached) return snapshotTree(model, root, cached);
    throw failure(
      "OFFLINE",
      `${id} (revision ${revision}) is not in the cache ${settings.cacheDir}, ${offlineReason}.`,
    );
  }
  const asking: HttpOptions = {
    timeout: settings.askTimeout,
    signal: options.signal,
    attempts: cached ? 2 : 5,
  };
  try {
    const { commit, files } = await listHubModel(model, asking);
    if (commit !== revision && commit !== cached) await writeFileAtomic(join(root, "refs", revision), commit);
    return onlineTree(model, root, commit, new Set(files), settings, options);
  } catch (error) {
    if (!cached || !(error instanceof DiffsightError) || error.code !== "NETWORK") throw error;
    const message = `${error.message} Using what the cache has of ${id} (revision ${revision}).`;
    options.onProgress?.({ status: "notice", name: id, message });
    return snapshotTree(model, root, cached);
  }
}

const offlineReason = "and the network is not used (HF_HUB_OFFLINE, or local files only)";

/** The commit that the cache knows a revision by. */
async function cachedCommit(root: string, revision: string): Promise<string | undefined> {
  const named = await readFile(join(root, "refs", revision), "utf8").catch(() => revision);
  const found = await lstat(join(root, "snapshots", named.trim())).catch(() => undefined);
  return found?.isDirectory() ? named.trim() : undefined;
}

/** What the cache has, and no more. */
function snapshotTree({ id, revision }: HubModel, root: string, commit: string): FileTree {
  const folder = join(root, "snapshots", commit);
  const open = async (path: string): Promise<WeightFile> => {
    if (await isFile(join(folder, path))) return openFile(join(folder, path));
    throw failure(
      "OFFLINE",
      `${id} (revision ${revision}): ${path} is not in the cache ${folder}, ${offlineReason}.`,
    );
  };
  return { ...folderTree(id, folder), complete: false, open, peek: open };
}

function onlineTree(
  model: HubModel,
  root: string,
  commit: string,
  files: ReadonlySet<string>,
  settings: HubSettings,
  options: SourceOptions,
): FileTree {
  const downloads = new Map<string, Promise<void>>();
  const pointerOf = (path: string): string => join(root, "snapshots", commit, path);
  const missing = (path: string): DiffsightError =>
    failure("FILE_MISSING", `${model.id} (revision ${model.revision}) has no file ${path}.`);
  return {
    source: model.id,
    complete: true,
    has: async (path) => files.has(path),
    list: async () => [...files].sort(),
    async open(path) {
      if (!files.has(path)) throw missing(path);
      if (!(await isFile(pointerOf(path)))) {
        const download = downloads.get(path) ?? downloadFile(model, root, commit, path, settings, options);
        downloads.set(path, download);
        await download.finally(() => downloads.delete(path));
      }
      return openFile(pointerOf(path));
    },
    async peek(path) {
      if (await isFile(pointerOf(path))) return openFile(pointerOf(path));
      const http: HttpOptions = {
        headers: hubHeaders(model),
        timeout: settings.downloadTimeout,
        signal: options.signal,
      };
      const explain = (response: Response): DiffsightError => hubError(model, response, path);
      const remote = files.has(path)
        ? await remoteFile(hubFileUrl(model, commit, path), http, explain)
        : undefined;
      if (!remote) throw missing(path);
      return remote;
    },
  };
}

async function downloadFile(
  model: HubModel,
  root: string,
  commit: string,
  path: string,
  settings: HubSettings,
  { onProgress, signal }: SourceOptions,
): Promise<void> {
  const event = { name: model.id, file: path };
  onProgress?.({ status: "initiate", ...event });
  const url = hubFileUrl(model, commit, path);
  const { etag, size } = await fileFacts(model, url, path, { timeout: settings.askTimeout, signal });
  const blob = join(root, "blobs", etag);
  const pointer = join(root, "snapshots", commit, path);
  try {
    await mkdir(dirname(blob), { recursive: true });
    await mkdir(dirname(pointer), { recursive: true });
    const fresh = !(await isFile(blob));
    if (fresh) {
      onProgress?.({ status: "download", ...event });
      await downloadBlob({
        url,
        blob,
        size,
        // Large files lie in LFS, where the etag is the contents' SHA-256.
        sha256: /^[0-9a-f]{64}$/.test(etag) ? etag : undefined,
        http: { headers: hubHeaders(model), timeout: settings.downloadTimeout, signal },
        explain: (response) => hubError(model, response, path),
        onProgress: (loaded) => {
          onProgress?.({
            status: "progress",
            ...event,
            progress: (100 * loaded) / size,
            loaded,
            total: size,
          });
        },
      });
    }
    await point(pointer, blob, fresh);
  } catch (error) {
    throw fileError(blob, error, "written");
  }
  onProgress?.({ status: "done", ...event });
}

/** Asks for a file's etag and size. The answer for a large file is a redirect to another host, and carries both itself. */
async function fileFacts(
  model: HubModel,
  url: string,
  path: string,
  options: HttpOptions,
): Promise<{ etag: string; size: number }> {
  const headers = { ...hubHeaders(model), "Accept-Encoding": "identity" };
  let at = url;
  for (let hop = 0; hop < 10; hop++) {
    const response = await request(at, { ...options, method: "HEAD", redirect: "manual", headers });
    const redirected = response.status >= 300 && response.status < 400;
    const location = redirected ? new URL(response.headers.get("location") ?? "", at) : undefined;
    // A redirect on the same host leads on (a renamed model); the token goes nowhere else.
    if (location && location.host === new URL(at).host && !response.headers.has("x-linked-etag")) {
      at = location.href;
      continue;
    }
    if (!response.ok && !redirected) throw hubError(model, response, path);
    const etag = (response.headers.get("x-linked-etag") ?? response.headers.get("etag") ?? "").replace(
      /^W\/|"/g,
      "",
    );
    const size =
      response.headers.get("x-linked-size") ?? (redirected ? null : response.headers.get("content-length"));
    if (!/^[\w-]+$/.test(etag) || size === null || !Number.isSafeInteger(Number(size))) {
      throw failure("NETWORK", `${at} has no etag and size: not an answer of a Hugging Face hub.`);
    }
    return { etag, size: Number(size) };
  }
  throw failure("NETWORK", `${url} is redirected without end.`);
}

/** Lets a snapshot's path point to its blob: a relative symlink; where there are none, as Python does, the file itself. */
async function point(pointer: string, blob: string, fresh: boolean): Promise<void> {
  if (await isFile(pointer)) return;
  await rm(pointer, { force: true });
  try {
    await symlink(relative(dirname(pointer), blob), pointer);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return; // another process was faster
    if (code === "ENOSPC" || code === "EDQUOT") throw error;
    await (fresh ? rename(blob, pointer) : copyFile(blob, pointer));
  }
}
