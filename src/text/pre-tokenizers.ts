/** @file The pre-tokenizers of tokenizer.json: what splits a normalised text into pieces that no token crosses. */

import { byteCharacters } from "./byte-pairs.js";
import { readPattern } from "./oniguruma.js";
import { corrupt, object, unsupported } from "./vocabulary-files.js";

/** @param isStart whether the piece begins the text */
export type PreTokenizer = (piece: string, isStart: boolean) => string[];

/**
 * @param config `pre_tokenizer` of tokenizer.json, or one of a sequence's
 * @throws TOKENIZER_UNSUPPORTED, FILE_CORRUPT
 */
export async function readPreTokenizer(config: unknown, file: string): Promise<PreTokenizer> {
  if (config === null || config === undefined) return (piece) => [piece];
  const { type, ...fields } = object(config);
  switch (type) {
    case "Sequence": {
      const listed = Array.isArray(fields.pretokenizers) ? fields.pretokenizers : [];
      const steps = await Promise.all(listed.map((step) => readPreTokenizer(step, file)));
      return (piece, isStart) =>
        steps.reduce<string[]>(
          (pieces, step) => pieces.flatMap((one, i) => step(one, isStart && i === 0)),
          [piece],
        );
    }
    case "ByteLevel":
      return byteLevel(fields.add_prefix_space === true, fields.use_regex !== false);
    case "Split":
      return split(await readPattern(fields.pattern, file), readBehavior(fields.behavior, file), {
        invert: fields.invert === true,
      });
    case "Digits":
      return split(/\p{N}/gu, fields.individual_digits === true ? "isolated" : "contiguous");
    case "Punctuation":
      return split(/[\p{P}!-/:-@[-`{-~]/gu, readBehavior(fields.behavior ?? "isolated", file));
    case "WhitespaceSplit":
      return split(/\p{White_Space}/gu, "removed");
    case "Metaspace": {
      const { replacement: mark = "▁", prepend_scheme: scheme, add_prefix_space: prefix } = fields;
      if (typeof mark !== "string" || [...mark].length !== 1) {
        throw corrupt(file, `a replacement of spaces is ${JSON.stringify(mark)}, not one character`);
      }
      return metaspace(mark, scheme ?? (prefix === false ? "never" : "always"), fields.split !== false);
    }
    default: {
      const known = "Sequence, ByteLevel, Split, Digits, Punctuation, WhitespaceSplit, Metaspace";
      throw unsupported(file, `the pre-tokenizer ${JSON.stringify(type)}`, `known: ${known}`);
    }
  }
}

/** GPT-2's split. White space is Unicode's; JavaScript's `\s` has U+FEFF and lacks U+0085. */
const gpt2Pieces =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

function byteLevel(prefixSpace: boolean, useRegex: boolean): PreTokenizer {
  const encoder = new TextEncoder();
  return (piece) => {
    const text = prefixSpace && !piece.startsWith(" ") ? ` ${piece}` : piece;
    return (useRegex ? (text.match(gpt2Pieces) ?? []) : [text]).map((part) =>
      Array.from(encoder.encode(part), (byte) => byteCharacters[byte]!).join(""),
    );
  };
}

function metaspace(mark: string, scheme: unknown, isSplit: boolean): PreTokenizer {
  const pieces = split(mark, "mergedwithnext");
  return (piece, isStart) => {
    const marked = piece.replaceAll(" ", () => mark);
    const prepend = (scheme === "always" || (scheme === "first" && isStart)) && !marked.startsWith(mark);
    const text = prepend ? mark + marked : marked;
    return isSplit ? pieces(text, isStart) : [text];
  };
}

/** What becomes of the matches of a split. */
const behaviors = ["isolated", "removed", "contiguous", "mergedwithprevious", "mergedwithnext"] as const;
type Behavior = (typeof behaviors)[number];

function readBehavior(behavior: unknown, file: string): Behavior {
  const name = String(behavior).toLowerCase().replaceAll("_", "") as Behavior;
  if (behaviors.includes(name)) return name;
  throw corrupt(
    file,
    `a split's behavior is ${JSON.stringify(behavior)}, not one of ${behaviors.join(", ")}`,
  );
}

function split(pattern: string | RegExp, behavior: Behavior, { invert = false } = {}): PreTokenizer {
  return (piece) => {
    const parts = matchesAndRest(piece, pattern).map(({ text, isMatch }) => ({
      text,
      isMatch: isMatch !== invert,
    }));
    if (behavior === "removed") return parts.filter(({ isMatch }) => !isMatch).map(({ text }) => text);
    const joined: string[] = [];
    parts.forEach(({ text, isMatch }, i) => {
      const before = parts[i - 1];
      const joins =
        before !== undefined &&
        ((behavior === "contiguous" && isMatch === before.isMatch) ||
          (behavior === "mergedwithprevious" && isMatch && !before.isMatch) ||
          (behavior === "mergedwithnext" && !isMatch && before.isMatch));
      if (joins) joined[joined.length - 1] += text;
      else joined.push(text);
    });
    return joined;
  };
}

/** A text as matches and what stands between them, without empty parts. */
function matchesAndRest(text: string, pattern: string | RegExp): { text: string; isMatch: boolean }[] {
  const parts: { text: string; isMatch: boolean }[] = [];
  const push = (from: number, to: number, isMatch: boolean): void => {
    if (from < to) parts.push({ text: text.slice(from, to), isMatch });
  };
  let at = 0;
  const matches: Iterable<{ index: number; length: number }> =
    typeof pattern === "string" ? occurrences(text, pattern) : expressionMatches(text, pattern);
  for (const { index, length } of matches) {
    push(at, index, false);
    push(index, index + length, true);
    at = index + length;
  }
  push(at, text.length, false);
  return parts;
}

function* occurrences(text: string, wanted: string): Generator<{ index: number; length: number }> {
  for (let index = text.indexOf(wanted); index !== -1; index = text.indexOf(wanted, index + wanted.length)) {
    yield { index, length: wanted.length };
  }
}

function* expressionMatches(text: string, pattern: RegExp): Generator<{ index: number; length: number }> {
  for (const { index, 0: match } of text.matchAll(pattern)) yield { index, length: match.length };
}
