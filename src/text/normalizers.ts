/** @file The normalizers of tokenizer.json: what a text is brought to before it is split. */

import { CharactersMap } from "./characters-map.js";
import { readPattern } from "./oniguruma.js";
import { lowerCase, normalForm } from "./unicode.js";
import { corrupt, object, unsupported } from "./vocabulary-files.js";

export type Normalizer = (text: string) => string;

/**
 * @param config `normalizer` of tokenizer.json, or one of a sequence's
 * @throws TOKENIZER_UNSUPPORTED, FILE_CORRUPT
 */
export async function readNormalizer(config: unknown, file: string): Promise<Normalizer> {
  if (config === null || config === undefined) return (text) => text;
  const { type, ...fields } = object(config);
  switch (type) {
    case "Sequence": {
      const listed = Array.isArray(fields.normalizers) ? fields.normalizers : [];
      const steps = await Promise.all(listed.map((step) => readNormalizer(step, file)));
      return (text) => steps.reduce((result, step) => step(result), text);
    }
    case "Prepend": {
      const prefix = String(fields.prepend);
      return (text) => (text === "" ? text : prefix + text);
    }
    case "Replace": {
      const pattern = await readPattern(fields.pattern, file);
      const content = String(fields.content);
      return (text) => text.replaceAll(pattern, () => content);
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return (text) => normalForm(text, type);
    case "Lowercase":
      return lowerCase;
    case "StripAccents":
      return (text) => text.replace(/\p{M}/gu, "");
    case "Strip": {
      const { strip_left: left, strip_right: right } = fields;
      return (text) => {
        const start = left === false ? 0 : text.search(/\P{White_Space}/u);
        if (start === -1) return "";
        let end = text.length;
        while (right !== false && end > start && /\p{White_Space}/u.test(text[end - 1]!)) end--;
        return text.slice(start, end);
      };
    }
    case "Precompiled":
      return precompiled(readMap(fields.precompiled_charsmap, file));
    default: {
      const known =
        "Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Precompiled";
      throw unsupported(file, `the normalizer ${JSON.stringify(type)}`, `known: ${known}`);
    }
  }
}

function readMap(text: unknown, file: string): CharactersMap {
  try {
    const bytes = typeof text === "string" ? Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0)) : [];
    return new CharactersMap(Uint8Array.from(bytes));
  } catch (cause) {
    throw corrupt(file, "its precompiled_charsmap cannot be read", cause);
  }
}

/**
 * SentencePiece's normalisation as tokenizers has it: a short grapheme becomes what the shortest sequence that it begins
 * with becomes, all of it; of others each character by itself.
 */
function precompiled(map: CharactersMap): Normalizer {
  const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });
  const encoder = new TextEncoder();
  const longest = 5;
  return (text) =>
    Array.from(graphemes.segment(text), ({ segment }) => {
      const whole = encoder.encode(segment).length <= longest ? map.shortest(segment) : undefined;
      return whole ?? Array.from(segment, (character) => map.shortest(character) ?? character).join("");
    }).join("");
}
