/** @file Reads the fields of a protocol buffer's message. */

/** A field: its number, and its value as its kind on the wire allows. */
export interface Field {
  number: number;
  /** Of kind 0: an integer. Of others: 0. */
  integer: number;
  /** Of kind 2: strings, messages, bytes. Of kinds 1 and 5: 8 or 4 bytes. Of kind 0: empty. */
  bytes: Uint8Array;
}

/** The bytes are no message. */
export class ProtobufFault extends Error {}

/** The fields of a message in order; nothing is copied. @throws ProtobufFault */
export function* fields(message: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 63; scale *= 128) {
      const byte = message[at++];
      if (byte === undefined) throw new ProtobufFault(`the message ends in a number at byte ${at - 1}`);
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw new ProtobufFault(`the number before byte ${at} has more than 10 bytes`);
  };
  while (at < message.length) {
    const key = varint();
    const kind = key % 8;
    const number = (key - kind) / 8;
    const integer = kind === 0 ? varint() : 0;
    const length = kind === 0 ? 0 : kind === 1 ? 8 : kind === 5 ? 4 : kind === 2 ? varint() : undefined;
    if (length === undefined || number === 0) throw new ProtobufFault(`no field begins before byte ${at}`);
    if (length > message.length - at) {
      throw new ProtobufFault(
        `field ${number} has ${length} bytes, of which ${message.length - at} are there`,
      );
    }
    yield { number, integer, bytes: message.subarray(at, at + length) };
    at += length;
  }
}

/** A field of kind 5 as a number in single precision. */
export function float({ number, bytes }: Field): number {
  if (bytes.length !== 4) throw new ProtobufFault(`field ${number} is no float`);
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
}

/** A field of kind 2 as text. */
export function text({ number, bytes }: Field): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ProtobufFault(`field ${number} is not UTF-8`);
  }
}
