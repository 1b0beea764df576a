/** @file Files on disk: reading parts of them, and writing them so that nobody ever sees half of one. */

import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { allocate, failure } from "../tensor/index.js";
import type { FileTree, WeightFile } from "./source.js";

/** `read` may return at most 2^31 - 1 bytes at a time. */
const maxRead = 1 << 30;

/** Opens a file; symlinks are resolved, as the hub's cache is made of them. @throws FILE_MISSING, FILE_ACCESS */
export async function openFile(path: string): Promise<WeightFile> {
  try {
    const location = await realpath(path);
    const found = await stat(location);
    if (!found.isFile()) throw failure("FILE_MISSING", `${path} is not a file.`);
    return { location, size: found.size, read: (offset, length) => readPart(location, offset, length) };
  } catch (error) {
    throw fileError(path, error);
  }
}

async function readPart(path: string, offset: number, length: number): Promise<Uint8Array> {
  try {
    const handle = await open(path);
    try {
      const bytes = allocate("u8", length) as Uint8Array;
      for (let done = 0; done < length; ) {
        const wanted = Math.min(length - done, maxRead);
        const { bytesRead } = await handle.read(bytes, done, wanted, offset + done);
        if (bytesRead === 0) throw failure("FILE_CORRUPT", `${path} ends before byte ${offset + length}.`);
        done += bytesRead;
      }
      return bytes;
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fileError(path, error);
  }
}

/** A folder on disk. */
export function folderTree(source: string, root: string): FileTree {
  const open = (path: string): Promise<WeightFile> => openFile(join(root, path));
  return {
    source,
    complete: true,
    open,
    peek: open,
    has: (path) => isFile(join(root, path)),
    async list() {
      const found = await readdir(root, { recursive: true, withFileTypes: true });
      const paths = found
        .filter((entry) => !entry.isDirectory())
        .map((entry) => relative(root, join(entry.parentPath, entry.name)));
      return paths.map((path) => path.split(sep).join("/")).sort();
    },
  };
}

export async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

/**
 * Writes a file whole or not at all: a temporary name in the same folder, flushed to the disk, renamed. Makes the folder.
 * @throws DISK_FULL, FILE_ACCESS, FILE_WRITE
 */
export async function writeFileAtomic(path: string, bytes: Uint8Array | string): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID().slice(0, 8)}.tmp`);
  try {
    await mkdir(dirname(path), { recursive: true });
    const handle = await open(temporary, "wx");
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw fileError(path, error, "written");
  }
}

const meanings: Record<string, [code: string, text: string]> = {
  ENOENT: ["FILE_MISSING", "there is no such file or folder"],
  ENOTDIR: ["FILE_MISSING", "a part of the path is not a folder"],
  ENAMETOOLONG: ["FILE_ACCESS", "the name is too long"],
  EISDIR: ["FILE_ACCESS", "it is a folder"],
  EACCES: ["FILE_ACCESS", "permission denied"],
  EPERM: ["FILE_ACCESS", "permission denied"],
  EROFS: ["FILE_ACCESS", "the disk is read-only"],
  EMFILE: ["FILE_ACCESS", "too many files are open"],
  ENOSPC: ["DISK_FULL", "no space is left on the disk"],
  EDQUOT: ["DISK_FULL", "the disk quota is used up"],
  EFBIG: ["DISK_FULL", "the file system allows no file so large"],
};

/** An error of the file system as a sentence with a stable code; other errors as they are. */
export function fileError(path: string, error: unknown, verb = "read"): unknown {
  if (!(error instanceof Error) || !("errno" in error)) return error;
  const [code, text] = meanings[(error as NodeJS.ErrnoException).code ?? ""] ?? [
    "FILE_ACCESS",
    error.message,
  ];
  return failure(code, `${path} could not be ${verb}: ${text}.`, error);
}
