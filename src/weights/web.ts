/** @file The weights' host in the browser: URLs, and ids fetched from the hub by ranges. */

import { type DiffsightError, failure, misuse } from "../tensor/index.js";
import { modelPath } from "./embedded.js";
import { remoteFile } from "./http.js";
import { type HubModel, hubError, hubFileUrl, hubHeaders, isModelId, listHubModel } from "./hub-api.js";
import type * as node from "./node.js";
import type { FileTree, SourceOptions, WeightFile } from "./source.js";

/** Opens a URL (also a relative one: "/models/sd", "./sd", "sd.safetensors"), or else an id of the hub. */
export const openSource: typeof node.openSource = async (reference, options) => {
  const idOrUrl = modelPath(reference);
  const isFile = /\.(safetensors|bin|pt|pth|ckpt)$/.test(idOrUrl);
  if (!isFile && isModelId(idOrUrl)) return { kind: "folder", tree: await hubTree(idOrUrl, options) };
  const url = new URL(idOrUrl, globalThis.document?.baseURI ?? location.href).href;
  if (!isFile) return { kind: "folder", tree: urlTree(idOrUrl, `${url.replace(/\/+$/, "")}/`, options) };
  const file = await remoteFile(url, { signal: options.signal }, (response) => answered(url, response));
  if (!file) throw failure("FILE_MISSING", `There is no file ${url}.`);
  return { kind: "file", file };
};

export const writeFileAtomic: typeof node.writeFileAtomic = async (path) => {
  throw misuse("NO_FILES", `${path} cannot be written: a page has no files.`);
};

export const writeFolderAtomic: typeof node.writeFolderAtomic = async (path) => {
  throw misuse("NO_FILES", `${path} cannot be written: a page has no files.`);
};

export const embeddedModel: typeof node.embeddedModel = (name) => {
  throw misuse("MODEL_MISSING", `A page has no model "embedded:${name}": name its address.`);
};

export const embeddedNames: typeof node.embeddedNames = () => [];

export const hubCacheFolder: typeof node.hubCacheFolder = () => {
  throw misuse("NO_FILES", "A page has no folder for the hub's cache: its browser keeps what it fetched.");
};

/** A folder on any web server. */
function urlTree(source: string, base: string, options: SourceOptions): FileTree {
  const address = (path: string): string =>
    new URL(path.split("/").map(encodeURIComponent).join("/"), base).href;
  const look = once((path) => {
    return remoteFile(address(path), { signal: options.signal }, (response) =>
      answered(address(path), response),
    );
  });
  return tree(source, look, async () => undefined);
}

async function hubTree(id: string, { revision = "main", token, signal }: SourceOptions): Promise<FileTree> {
  const model: HubModel = { endpoint: "https://huggingface.co", id, revision, token };
  const { commit, files } = await listHubModel(model, { signal });
  const look = once(async (path) => {
    if (!files.includes(path)) return undefined;
    const http = { headers: hubHeaders(model), signal };
    return remoteFile(hubFileUrl(model, commit, path), http, (response) => hubError(model, response, path));
  });
  return { ...tree(id, look, async () => files), has: async (path) => files.includes(path) };
}

function tree(
  source: string,
  look: (path: string) => Promise<WeightFile | undefined>,
  list: FileTree["list"],
): FileTree {
  const open = async (path: string): Promise<WeightFile> => {
    const file = await look(path);
    if (!file) throw failure("FILE_MISSING", `${source} has no file ${path}.`);
    return file;
  };
  return {
    source,
    complete: true,
    list,
    open,
    peek: open,
    has: async (path) => (await look(path)) !== undefined,
  };
}

/** Looks for each path once; a failed look may be repeated. */
function once(look: (path: string) => Promise<WeightFile | undefined>): typeof look {
  const known = new Map<string, Promise<WeightFile | undefined>>();
  return (path) => {
    const found = known.get(path) ?? look(path);
    known.set(path, found);
    found.catch(() => known.delete(path));
    return found;
  };
}

function answered(url: string, { status }: Response): DiffsightError {
  return failure("NETWORK", `${url} answered ${status}.`);
}
