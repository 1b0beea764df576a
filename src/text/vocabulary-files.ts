/** @file Reading the JSON of tokenizers: vocabularies and merges, with errors that name the file and the place. */

import { failure } from "../tensor/index.js";
import type { Merge, TokenId } from "./byte-pairs.js";

type Json = Record<string, unknown>;

const highestId = 2 ** 26;

export function readIds(file: string, vocab: Json): Map<string, TokenId> {
  const entries = Object.entries(vocab);
  if (entries.length === 0) throw corrupt(file, "its vocabulary is empty");
  return new Map(entries.map(([token, id]) => [token, readId(file, token, id)]));
}

export function readId(file: string, token: string, id: unknown): TokenId {
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < highestId) return id;
  throw corrupt(
    file,
    `token ${JSON.stringify(token)} has id ${JSON.stringify(id)}, not an integer from 0 on`,
  );
}

/** The pairs of tokenizer.json: `["a", "b"]`, or "a b" in older files. */
export function listedPairs(merges: unknown): unknown[][] {
  const listed: unknown[] = Array.isArray(merges) ? merges : [];
  return listed.map((pair) => (Array.isArray(pair) ? pair : String(pair).split(" ")));
}

export function readMerges(
  file: string,
  pairs: readonly unknown[][],
  place: (index: number) => string,
  ids: ReadonlyMap<string, TokenId>,
): Merge[] {
  return pairs.map((pair, i) => {
    const [left, right] = pair;
    if (pair.length !== 2 || typeof left !== "string" || typeof right !== "string") {
      throw corrupt(file, `${place(i)} is not a pair of tokens: ${JSON.stringify(pair).slice(0, 80)}`);
    }
    const tokens = [left, right, left + right];
    const [l, r, merged] = tokens.map((token) => ids.get(token));
    if (l === undefined || r === undefined || merged === undefined) {
      const missing = JSON.stringify(tokens.find((token) => !ids.has(token)));
      throw corrupt(file, `${place(i)} needs ${missing}, which the vocabulary lacks`);
    }
    return { left: l, right: r, merged };
  });
}

/** A token is written as a string or as an object with its text in `content`. */
export function contentOf(token: unknown): string | undefined {
  const content = typeof token === "string" ? token : object(token).content;
  return typeof content === "string" && content !== "" ? content : undefined;
}

/** @throws FILE_CORRUPT */
export function parseObject(file: string, text: string): Json {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw corrupt(file, "it is not valid JSON", cause);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw corrupt(file, "it is no JSON object");
  return json as Json;
}

export function object(value: unknown): Json {
  return typeof value === "object" && value !== null ? (value as Json) : {};
}

/** A part of tokenizer.json as the list of its steps. */
export function flattened(config: unknown, list: string): Json[] {
  const step = object(config);
  if (step.type !== "Sequence") return step.type === undefined ? [] : [step];
  const steps = step[list];
  return (Array.isArray(steps) ? steps : []).flatMap((one) => flattened(one, list));
}

export function corrupt(file: string, problem: string, cause?: unknown): Error {
  return failure("FILE_CORRUPT", `Cannot read the tokenizer: ${file}: ${problem}.`, cause);
}

/** @param part what of the file is not known here */
export function unsupported(file: string, part: string, advice: string): Error {
  return failure("TOKENIZER_UNSUPPORTED", `Cannot use the tokenizer: ${file} has ${part}; ${advice}.`);
}
