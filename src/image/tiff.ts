/** @file The tags of a TIFF file's first directory: its size, or an EXIF block's orientation. */

/** Bytes of a number of TIFF's types SHORT, LONG and LONG8; other types are not needed here. */
const typeSizes = new Map([
  [3, 2],
  [4, 4],
  [16, 8],
]);

/**
 * The first number of every whole-number tag in the first directory (TIFF 6.0 section 2, and BigTIFF).
 * @returns nothing when the bytes are no TIFF or break off
 */
export function readTiffTags(bytes: Uint8Array): Map<number, number> | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.byteLength < 16) return undefined;
  const mark = view.getUint16(0);
  const little = mark === 0x4949;
  if (!little && mark !== 0x4d4d) return undefined;
  const version = view.getUint16(2, little);
  if (version !== 42 && version !== 43) return undefined;

  const big = version === 43;
  const long = (at: number) => (big ? Number(view.getBigUint64(at, little)) : view.getUint32(at, little));
  const [countBytes, entryBytes, valueAt] = big ? [8, 20, 12] : [2, 12, 8];
  const directory = long(big ? 8 : 4);
  if (directory + countBytes > view.byteLength) return undefined;
  const entries = big ? long(directory) : view.getUint16(directory, little);
  const end = directory + countBytes + entries * entryBytes;
  if (end > view.byteLength) return undefined;

  const tags = new Map<number, number>();
  for (let at = directory + countBytes; at < end; at += entryBytes) {
    const size = typeSizes.get(view.getUint16(at + 2, little));
    // What does not fit into the entry lies elsewhere; the size and the orientation always fit.
    if (!size || size * long(at + 4) > (big ? 8 : 4)) continue;
    const value = at + valueAt;
    const number =
      size === 2
        ? view.getUint16(value, little)
        : size === 4
          ? view.getUint32(value, little)
          : Number(view.getBigUint64(value, little));
    tags.set(view.getUint16(at, little), number);
  }
  return tags;
}
