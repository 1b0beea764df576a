/** @file The checksum of PNG's chunks (ISO 3309). */

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let word = byte;
  for (let bit = 0; bit < 8; bit++) word = word & 1 ? 0xedb88320 ^ (word >>> 1) : word >>> 1;
  return word;
});

/** CRC-32 of the bytes between two offsets. */
export function crc32(bytes: Uint8Array, from: number, to: number): number {
  let word = 0xffffffff;
  for (let i = from; i < to; i++) word = table[(word ^ bytes[i]!) & 255]! ^ (word >>> 8);
  return (word ^ 0xffffffff) >>> 0;
}
