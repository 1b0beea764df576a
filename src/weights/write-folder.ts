/** @file Writing a folder so that nobody ever sees half of one. */

import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { misuse } from "../tensor/index.js";
import { fileError } from "./files.js";

/** Writes bytes at a place of one of the folder's files. */
export type WriteAt = (name: string, offset: number, bytes: Uint8Array) => Promise<void>;

/**
 * Makes a folder whole or not at all: under a temporary name beside it, flushed to the disk, renamed.
 * @param path a folder that does not exist, or is empty
 * @throws FOLDER_EXISTS, DISK_FULL, FILE_ACCESS
 */
export async function writeFolderAtomic(
  path: string,
  fill: (write: WriteAt) => Promise<void>,
): Promise<void> {
  const target = resolve(path);
  const temporary = join(dirname(target), `.${basename(target)}.${randomUUID().slice(0, 8)}.tmp`);
  const handles = new Map<string, FileHandle>();
  const opened = async (name: string) => {
    const handle = handles.get(name) ?? (await open(join(temporary, name), "wx"));
    handles.set(name, handle);
    return handle;
  };
  await expectFree(path);
  try {
    await mkdir(temporary, { recursive: true });
    await fill(async (name, offset, bytes) => {
      const handle = await opened(name);
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done);
        done += bytesWritten;
      }
    });
    for (const handle of handles.values()) await handle.sync();
    await rmdir(target).catch(() => {});
    await rename(temporary, target);
  } catch (error) {
    throw fileError(path, error, "written");
  } finally {
    for (const handle of handles.values()) await handle.close();
    await rm(temporary, { recursive: true, force: true });
  }
}

async function expectFree(path: string): Promise<void> {
  const found = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw fileError(path, error, "written");
  });
  if (found.length > 0) throw misuse("FOLDER_EXISTS", `${path} has files in it: name a new folder.`);
}
