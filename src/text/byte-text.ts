/** @file Bytes that arrive in parts, as text of whole characters. */

/** Reads UTF-8 in parts. */
export interface ByteReader {
  /** The text that is certain now. */
  push(bytes: readonly number[]): string;
  /** What is left when no more bytes come. */
  end(): string;
}

const replacement = "\uFFFD";

function decodeWhole(bytes: readonly number[]): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return undefined;
  }
}

/** Wrong bytes become U+FFFD as in Unicode's recommendation, one for each longest beginning of a character. */
export function lossyReader(): ByteReader {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return {
    push: (bytes) => decoder.decode(Uint8Array.from(bytes), { stream: true }),
    end: () => decoder.decode(),
  };
}

/** Bytes that are wrong anywhere become U+FFFD each, all of them; nothing is told before the end. */
export function wholeReader(): ByteReader {
  let held: number[] = [];
  return {
    push(bytes) {
      held.push(...bytes);
      return "";
    },
    end() {
      const text = decodeWhole(held) ?? replacement.repeat(held.length);
      held = [];
      return text;
    },
  };
}

/** Each wrong byte becomes one U+FFFD, and what is right stays, as SentencePiece decodes. */
export function eachReader(): ByteReader {
  let held: number[] = [];
  const take = (isEnd: boolean): string => {
    let text = "";
    let at = 0;
    while (at < held.length) {
      const length = characterLength(held[at]!);
      const bytes = held.slice(at, at + length);
      if (bytes.length < length && !isEnd && bytes.slice(1).every(isContinuation)) break;
      const character = bytes.length === length ? decodeWhole(bytes) : undefined;
      text += character ?? replacement;
      at += character === undefined ? 1 : length;
    }
    held = held.slice(at);
    return text;
  };
  return {
    push(bytes) {
      held.push(...bytes);
      return take(false);
    },
    end: () => take(true),
  };
}

/** How many bytes a character has that begins with this one. */
function characterLength(first: number): number {
  if (first >= 0xf0) return 4;
  if (first >= 0xe0) return 3;
  return first >= 0xc0 ? 2 : 1;
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}
