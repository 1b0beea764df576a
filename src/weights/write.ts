/** @file Writing files so that nobody ever sees half of one. */

import * as host from "#host/weights";

/**
 * Writes a file whole or not at all: a temporary name in the same folder, flushed to the disk, renamed. Makes the folder.
 * @throws DISK_FULL, FILE_ACCESS, FILE_WRITE; in a page, which has no files, NO_FILES
 */
export function writeFileAtomic(path: string, bytes: Uint8Array | string): Promise<void> {
  return host.writeFileAtomic(path, bytes);
}
