/** @file The zip archives that torch.save writes: nothing compressed, so that every member can be read in place. */

import { type DiffsightError, failure } from "../tensor/index.js";
import type { WeightFile } from "./source.js";

export interface ZipMember {
  name: string;
  /** Bytes. */
  size: number;
  /** Where its local header begins; its bytes follow that. */
  headerOffset: number;
  /** Compressed or encrypted. */
  packed: boolean;
}

const endSignature = 0x06054b50;
const end64Signature = 0x06064b50;
const end64LocatorSignature = 0x07064b50;
const memberSignature = 0x02014b50;
const localSignature = 0x04034b50;

/** Room for 100,000 members; the directory is held in memory. */
const maxDirectory = 16_000_000;

/**
 * Lists an archive's members.
 * @throws FILE_CORRUPT
 * @see https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
export async function readZipDirectory(file: WeightFile): Promise<Map<string, ZipMember>> {
  const { offset, size, count } = await findDirectory(file);
  if (size > maxDirectory) throw corrupt(`a directory of ${size} bytes (at most ${maxDirectory} are read)`);
  if (offset + size > file.size) throw corrupt("its directory lies beyond its end");
  const bytes = await file.read(offset, size);
  const view = viewOf(bytes);
  const members = new Map<string, ZipMember>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > size || view.getUint32(at, true) !== memberSignature)
      throw corrupt(`member ${i} is missing`);
    const flags = view.getUint16(at + 8, true);
    const compression = view.getUint16(at + 10, true);
    const packedSize = view.getUint32(at + 20, true);
    const stored = { size: view.getUint32(at + 24, true), headerOffset: view.getUint32(at + 42, true) };
    const nameEnd = at + 46 + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const next = extraEnd + view.getUint16(at + 32, true);
    if (next > size) throw corrupt(`member ${i} is cut off`);

    const name = new TextDecoder().decode(bytes.subarray(at + 46, nameEnd));
    const packed = compression !== 0 || packedSize !== stored.size || (flags & 1) === 1;
    const member = { name, packed, ...wide(stored, viewOf(bytes.subarray(nameEnd, extraEnd))) };
    const quoted = JSON.stringify(name.slice(0, 200));
    if (!packed && member.headerOffset + 30 + member.size > file.size)
      throw corrupt(`${quoted} lies beyond its end`);
    if (members.has(name)) throw corrupt(`${quoted} stands twice`);
    members.set(name, member);
    at = next;
  }
  return members;
}

/** Where a member's bytes begin in the file. @throws FILE_CORRUPT; also for a packed one, which torch.save never writes */
export async function zipMemberOffset(file: WeightFile, member: ZipMember): Promise<number> {
  const { name, size, headerOffset, packed } = member;
  if (packed) throw corrupt(`${JSON.stringify(name)} is compressed or encrypted`);
  const view = viewOf(await file.read(headerOffset, 30));
  const offset = headerOffset + 30 + view.getUint16(26, true) + view.getUint16(28, true);
  if (view.getUint32(0, true) !== localSignature || offset + size > file.size) {
    throw corrupt(`${JSON.stringify(name)} does not lie where the directory says`);
  }
  return offset;
}

async function findDirectory(file: WeightFile): Promise<{ offset: number; size: number; count: number }> {
  // The end record has 22 bytes and may carry a comment of up to 65535.
  const tailStart = Math.max(0, file.size - 22 - 0xffff);
  const tail = viewOf(await file.read(tailStart, file.size - tailStart));
  let end = tail.byteLength - 22;
  while (end >= 0 && tail.getUint32(end, true) !== endSignature) end--;
  if (end < 0) throw corrupt("it has no directory (a download cut short?)");
  const directory = {
    count: tail.getUint16(end + 10, true),
    size: tail.getUint32(end + 12, true),
    offset: tail.getUint32(end + 16, true),
  };
  const locator = end - 20;
  if (locator < 0 || tail.getUint32(locator, true) !== end64LocatorSignature) return directory;
  const at = Number(tail.getBigUint64(locator + 8, true));
  if (at + 56 > file.size) throw corrupt("its 64-bit directory lies beyond its end");
  const end64 = viewOf(await file.read(at, 56));
  if (end64.getUint32(0, true) !== end64Signature) throw corrupt("its 64-bit directory is missing");
  return {
    count: Number(end64.getBigUint64(32, true)),
    size: Number(end64.getBigUint64(40, true)),
    offset: Number(end64.getBigUint64(48, true)),
  };
}

/** Sizes and offsets of 2^32 - 1 stand in an extra field of 64-bit numbers, in this order, those that are needed. */
function wide(
  member: { size: number; headerOffset: number },
  extra: DataView,
): { size: number; headerOffset: number } {
  for (let at = 0; at + 4 <= extra.byteLength; at += 4 + extra.getUint16(at + 2, true)) {
    if (extra.getUint16(at, true) !== 1) continue;
    let field = at + 4;
    const next = (): number => {
      if (field + 8 > extra.byteLength) throw corrupt("a member's 64-bit sizes are cut off");
      field += 8;
      return Number(extra.getBigUint64(field - 8, true));
    };
    const size = member.size === 0xffffffff ? next() : member.size;
    if (size !== member.size) field += 8; // the packed size, the same number
    return { size, headerOffset: member.headerOffset === 0xffffffff ? next() : member.headerOffset };
  }
  return member;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function corrupt(what: string): DiffsightError {
  return failure("FILE_CORRUPT", `Not a valid torch archive: ${what}.`);
}
