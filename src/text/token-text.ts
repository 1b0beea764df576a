/** @file From tokens to text: what writes them, and SentencePiece's way. */

import { eachReader } from "./byte-text.js";

/** Writes the tokens of one text as they come. */
export interface TokenWriter {
  /** The text that is certain now. */
  push(token: string): string;
  /** The rest, when no more tokens come. */
  end(): string;
}

/** How a vocabulary writes text: a writer for each. */
export type TokenWriting = () => TokenWriter;

/** The byte that a token such as "<0x0A>" spells. */
export function spelledByte(token: string): number | undefined {
  return /^<0x[0-9a-fA-F]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : undefined;
}

/**
 * SentencePiece's pieces, where "▁" is a space. Wrong bytes become U+FFFD each.
 * @param options `byteFallback`: whether "<0x0A>" is a byte; `leadingSpace`: whether the space that the first piece
 *   begins with is left out, unless it is spelt as a byte
 */
export function pieceWriting({
  byteFallback,
  leadingSpace,
}: {
  byteFallback: boolean;
  leadingSpace: boolean;
}): TokenWriting {
  return () => {
    const bytes = eachReader();
    let strips = leadingSpace;
    const strip = (text: string) => {
      const from = strips && text.startsWith(" ") ? 1 : 0;
      if (text !== "") strips = false;
      return text.slice(from);
    };
    return {
      push(token) {
        const byte = byteFallback ? spelledByte(token) : undefined;
        if (byte === undefined) return strip(bytes.end() + token.replaceAll("▁", " "));
        strips = false;
        return bytes.push([byte]);
      },
      end: () => bytes.end(),
    };
  };
}
