/** @file The decoders of tokenizer.json: steps that tokens go through until they are text. */

import { tokenBytes } from "./byte-pairs.js";
import { lossyReader, wholeReader } from "./byte-text.js";
import { readPattern } from "./oniguruma.js";
import { spelledByte, type TokenWriting } from "./token-text.js";
import { corrupt, flattened, unsupported } from "./vocabulary-files.js";

/** Tokens in, tokens out, for one text. */
interface Step {
  push(token: string): string[];
  end(): string[];
}

type MakeStep = () => Step;

type Config = Record<string, unknown>;

/**
 * @param config `decoder` of tokenizer.json
 * @throws TOKENIZER_UNSUPPORTED, FILE_CORRUPT
 */
export async function readDecoder(config: unknown, file: string): Promise<TokenWriting> {
  const listed = flattened(config, "decoders");
  const steps: MakeStep[] = [];
  for (const [i, one] of listed.entries()) {
    steps.push(await readStep(one, file));
    if (one.type !== "Fuse" && one.type !== "ByteLevel") continue;
    // From here on all is one token, of which only the beginning can be stripped before its end is known.
    const rest = listed.slice(i + 1);
    if (rest.every(({ type, stop }) => type === "Strip" && !stop)) {
      steps.push(...rest.map((strip) => beginning(readStrip(strip, file))));
      break;
    }
    if (rest.length > 0) steps.push(held);
  }
  if (!listed.some(({ type }) => type === "ByteLevel" || type === "Metaspace" || type === "Replace")) {
    throw unsupported(file, "no decoder that writes spaces", "known: ByteLevel, Metaspace, Replace");
  }
  return () => {
    const chain = steps.map((make) => make());
    return {
      push: (token) =>
        chain.reduce((tokens, step) => tokens.flatMap((one) => step.push(one)), [token]).join(""),
      end: () =>
        chain
          .reduce<string[]>((tokens, step) => [...tokens.flatMap((one) => step.push(one)), ...step.end()], [])
          .join(""),
    };
  };
}

async function readStep(config: Config, file: string): Promise<MakeStep> {
  switch (config.type) {
    case "ByteLevel":
      return byteLevel;
    case "ByteFallback":
      return byteFallback;
    case "Fuse":
      return each((token) => token);
    case "Metaspace": {
      const { replacement: mark = "▁", prepend_scheme: scheme, add_prefix_space: prefix } = config;
      return metaspace(String(mark), scheme !== "never" && prefix !== false);
    }
    case "Replace": {
      const pattern = await readPattern(config.pattern, file);
      const content = String(config.content);
      return each((token) => token.replaceAll(pattern, () => content));
    }
    case "Strip":
      return stripped(readStrip(config, file));
    default:
      throw unsupported(
        file,
        `the decoder ${JSON.stringify(config).slice(0, 120)}`,
        "known: ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip",
      );
  }
}

/** A step that takes each token by itself. */
function each(write: (token: string) => string): MakeStep {
  return () => ({ push: (token) => [write(token)], end: () => [] });
}

/** All of the text as one token. */
function held(): Step {
  let text = "";
  return {
    push(token) {
      text += token;
      return [];
    },
    end: () => [text],
  };
}

/** GPT-2's characters for bytes; a token that has others stands for itself. */
function byteLevel(): Step {
  const reader = lossyReader();
  const encoder = new TextEncoder();
  return {
    push: (token) => [reader.push(tokenBytes(token) ?? [...encoder.encode(token)])],
    end: () => [reader.end()],
  };
}

/** A run of bytes is one token where it is UTF-8, else one U+FFFD for each. */
function byteFallback(): Step {
  const reader = wholeReader();
  const end = () => [reader.end()].filter((text) => text !== "");
  return {
    push(token) {
      const byte = spelledByte(token);
      if (byte === undefined) return [...end(), token];
      reader.push([byte]);
      return [];
    },
    end,
  };
}

/** Marks are spaces; where a text begins with one, those of the first token are nothing. */
function metaspace(mark: string, hasPrefix: boolean): MakeStep {
  return () => {
    let space = hasPrefix ? "" : " ";
    return {
      push(token) {
        const text = token.replaceAll(mark, () => space);
        space = " ";
        return [text];
      },
      end: () => [],
    };
  };
}

interface Strip {
  content: string;
  start: number;
  stop: number;
}

function readStrip({ content, start, stop }: Config, file: string): Strip {
  if (typeof content !== "string" || [...content].length !== 1) {
    throw corrupt(file, `a decoder strips ${JSON.stringify(content)}, not one character`);
  }
  return { content, start: Number(start) || 0, stop: Number(stop) || 0 };
}

function stripped({ content, start, stop }: Strip): MakeStep {
  return each((token) => {
    const characters = [...token];
    let from = 0;
    while (from < start && characters[from] === content) from++;
    let to = characters.length;
    while (to > from && characters.length - to < stop && characters[to - 1] === content) to--;
    return characters.slice(from, to).join("");
  });
}

/** Strips the beginning of a text that comes in parts. */
function beginning({ content, start }: Strip): MakeStep {
  return () => {
    let left = start;
    return {
      push(part) {
        let from = 0;
        while (left > 0 && part.startsWith(content, from)) {
          from += content.length;
          left--;
        }
        if (from < part.length) left = 0;
        return [part.slice(from)];
      },
      end: () => [],
    };
  };
}
