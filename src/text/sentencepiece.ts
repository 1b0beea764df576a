/** @file Reads SentencePiece's tokenizer.model: unigrams and byte pairs, as Google's library and transformers use them. */

import type { Merge, TokenId } from "./byte-pairs.js";
import { CharactersMap } from "./characters-map.js";
import { type Field, fields, float, ProtobufFault, text } from "./protobuf.js";
import { BytePairModel, byteTokens, type TokenModel, UnigramModel } from "./token-models.js";
import { pieceWriting } from "./token-text.js";
import { Tokenizer, type TokenizerParts } from "./tokenizer.js";
import { readAddedTokens, type TokenizerConfig } from "./tokenizer-config.js";
import { Trie } from "./trie.js";
import { corrupt, unsupported } from "./vocabulary-files.js";

const file = "tokenizer.model";

/** Kinds of pieces, by their numbers in the file. */
const kinds = { normal: 1, unknown: 2, control: 3, user: 4, unused: 5, byte: 6 } as const;
const modelTypes: Readonly<Record<number, string>> = { 1: "unigram", 2: "byte pairs", 3: "word", 4: "char" };

/** Longer than any piece that training makes; the splits of a piece take time quadratic in its length. */
const longestPiece = 1024;

interface Piece {
  text: string;
  id: TokenId;
  score: number;
  kind: number;
}

/** What the file holds, with its defaults. */
interface Model {
  pieces: Piece[];
  modelType: number;
  whitespaceAsSuffix: boolean;
  byteFallback: boolean;
  /** Names of special tokens. */
  names: { start: string; end: string; padding: string };
  map: CharactersMap | undefined;
  dummyPrefix: boolean;
  removeExtraWhitespace: boolean;
  escapeWhitespace: boolean;
}

/**
 * A tokenizer from the bytes of its tokenizer.model. Special tokens that a text spells are found first, as transformers
 * does. The config's `legacy` (true unless told) says whether each part between special tokens gets the space that
 * begins a text, or only the first.
 * @throws FILE_CORRUPT, TOKENIZER_UNSUPPORTED
 */
export function tokenizerFromSentencePiece(bytes: Uint8Array, config: TokenizerConfig): Tokenizer {
  const model = readModel(bytes);
  const { pieces, names, byteFallback } = model;
  const vocabulary = new Map(pieces.map(({ text, id }) => [text, id]));
  if (vocabulary.size < pieces.length) {
    const twice = pieces.find(({ text, id }) => vocabulary.get(text) !== id)!;
    throw corrupt(file, `the piece ${JSON.stringify(twice.text)} is there twice`);
  }
  const special = pieces.filter(({ kind }) => kind === kinds.control || kind === kinds.unknown);
  const listed = special.map(({ text, id }) => ({ content: text, id, special: true, normalized: false }));
  const added = readAddedTokens(file, listed, config, (token) => vocabulary.get(token));
  const id = (token: string) => added.find(({ content }) => content === token)?.id ?? vocabulary.get(token);
  const unknown = pieces.find(({ kind }) => kind === kinds.unknown)!.id;
  const roles = config.roles(id);
  const controls = new Map(special.map(({ text, id }) => [text, id]));
  const { start = controls.get(names.start), end = controls.get(names.end) } = roles;
  return new Tokenizer({
    vocabulary,
    added,
    normalize: normalizer(model, config.json.legacy !== false),
    split: (piece) => [piece],
    model: readTokenModel(model, unknown),
    template: template(config, start, end),
    writing: pieceWriting({ byteFallback, leadingSpace: model.dummyPrefix }),
    roles: {
      start,
      end,
      padding: roles.padding ?? controls.get(names.padding),
      unknown: roles.unknown ?? unknown,
    },
    maxLength: config.maxLength,
  });
}

/** transformers' tokenizers of such files begin a text (LLaMA's), or end it (T5's). */
function template(
  { json }: TokenizerConfig,
  start: TokenId | undefined,
  end: TokenId | undefined,
): TokenizerParts["template"] {
  const isT5 = String(json.tokenizer_class ?? "").startsWith("T5");
  const { add_bos_token: before = !isT5, add_eos_token: after = isT5 } = json;
  return {
    before: before === true && start !== undefined ? [start] : [],
    after: after === true && end !== undefined ? [end] : [],
  };
}

function readModel(bytes: Uint8Array): Model {
  const model: Model = {
    pieces: [],
    modelType: 1,
    whitespaceAsSuffix: false,
    byteFallback: false,
    names: { start: "<s>", end: "</s>", padding: "<pad>" },
    map: undefined,
    dummyPrefix: true,
    removeExtraWhitespace: true,
    escapeWhitespace: true,
  };
  try {
    for (const field of fields(bytes)) {
      if (field.number === 1) model.pieces.push(readPiece(field, model.pieces.length));
      else if (field.number === 2) readTrainerSpec(field, model);
      else if (field.number === 3) readNormalizerSpec(field, model);
    }
  } catch (cause) {
    if (!(cause instanceof ProtobufFault) && !(cause instanceof RangeError)) throw cause;
    throw corrupt(file, cause.message, cause);
  }
  if (model.pieces.length === 0) throw corrupt(file, "it has no pieces");
  const unknowns = model.pieces.filter(({ kind }) => kind === kinds.unknown).length;
  if (unknowns !== 1) throw corrupt(file, `it has ${unknowns} unknown pieces, not one`);
  if (model.whitespaceAsSuffix) throw unsupported(file, "spaces as suffixes", "they must be prefixes");
  return model;
}

function readPiece({ bytes }: Field, id: TokenId): Piece {
  const piece: Piece = { text: "", id, score: 0, kind: kinds.normal };
  for (const field of fields(bytes)) {
    if (field.number === 1) piece.text = text(field);
    else if (field.number === 2) piece.score = float(field);
    else if (field.number === 3) piece.kind = field.integer;
  }
  if (piece.text === "") throw corrupt(file, `piece ${id} is empty`);
  if (!Number.isFinite(piece.score)) throw corrupt(file, `piece ${id} has the score ${piece.score}`);
  if (piece.kind < 1 || piece.kind > 6)
    throw corrupt(file, `piece ${id} is of kind ${piece.kind}, not 1 to 6`);
  return piece;
}

function readTrainerSpec({ bytes }: Field, model: Model): void {
  for (const field of fields(bytes)) {
    if (field.number === 3) model.modelType = field.integer;
    else if (field.number === 24) model.whitespaceAsSuffix = field.integer !== 0;
    else if (field.number === 35) model.byteFallback = field.integer !== 0;
    else if (field.number === 46) model.names.start = text(field);
    else if (field.number === 47) model.names.end = text(field);
    else if (field.number === 48) model.names.padding = text(field);
  }
}

function readNormalizerSpec({ bytes }: Field, model: Model): void {
  for (const field of fields(bytes)) {
    if (field.number === 2 && field.bytes.length > 0) model.map = new CharactersMap(field.bytes);
    else if (field.number === 3) model.dummyPrefix = field.integer !== 0;
    else if (field.number === 4) model.removeExtraWhitespace = field.integer !== 0;
    else if (field.number === 5) model.escapeWhitespace = field.integer !== 0;
  }
}

function userPieces(pieces: readonly Piece[]): Trie | undefined {
  const found = pieces.filter(({ kind }) => kind === kinds.user);
  return found.length === 0 ? undefined : new Trie(found.map(({ text, id }) => [text, id]));
}

function readTokenModel({ pieces, modelType, byteFallback }: Model, unknown: TokenId): TokenModel {
  const byName = new Map(pieces.filter(({ kind }) => kind === kinds.byte).map(({ text, id }) => [text, id]));
  const bytes = byteFallback ? byteTokens((token) => byName.get(token)) : undefined;
  if (bytes?.includes(undefined)) throw corrupt(file, "it falls back to bytes and lacks some of them");
  const isOrdinary = ({ kind }: Piece) => kind === kinds.normal || kind === kinds.user;
  if (modelType === 1) {
    const preferred = pieces.filter(({ kind }) => kind === kinds.user).map(({ id }) => id);
    return new UnigramModel({
      pieces: pieces.filter(isOrdinary),
      unknown,
      bytes,
      preferred: new Set(preferred),
      round: Math.fround,
    });
  }
  if (modelType !== 2) {
    throw unsupported(
      file,
      `a model of type ${modelTypes[modelType] ?? modelType}`,
      "known: unigram, byte pairs",
    );
  }
  if (pieces.some(({ kind }) => kind === kinds.unused)) {
    throw unsupported(file, "byte pairs with unused pieces", "train it without a restricted vocabulary");
  }
  const normal = pieces.filter(({ kind }) => kind === kinds.normal);
  const frozen = userPieces(pieces);
  return new BytePairModel({
    ids: new Map(normal.map(({ text, id }) => [text, id])),
    merges: mergesOf(normal),
    size: pieces.length,
    unknown,
    fuse: true,
    bytes,
    ...(frozen && { frozen }),
  });
}

/** Any two pieces that together are a piece are merged, the best score first. */
function mergesOf(pieces: readonly Piece[]): Merge[] {
  const scores = [...new Set(pieces.map(({ score }) => score))].sort((a, b) => b - a);
  const ranks = new Map(scores.map((score, rank) => [score, rank]));
  const ids = new Map(pieces.map(({ text, id }) => [text, id]));
  return pieces.flatMap(({ text, id: merged, score }) => {
    if (text.length > longestPiece) {
      throw corrupt(file, `piece ${merged} has ${text.length} characters, more than ${longestPiece}`);
    }
    const merges: Merge[] = [];
    for (let at = 1; at < text.length; at++) {
      const left = ids.get(text.slice(0, at));
      const right = left === undefined ? undefined : ids.get(text.slice(at));
      if (right !== undefined) merges.push({ left: left!, right, merged, rank: ranks.get(score)! });
    }
    return merges;
  });
}

/** SentencePiece's normalisation, in the order of its `Normalizer::Normalize`. */
function normalizer(model: Model, isLegacy: boolean): TokenizerParts["normalize"] {
  const { map, dummyPrefix, removeExtraWhitespace, escapeWhitespace } = model;
  const space = escapeWhitespace ? "▁" : " ";
  const user = userPieces(model.pieces);
  /** What stands at a place, normalised, and where the next begins. */
  const next = (section: string, at: number): { text: string; end: number } => {
    const found = user?.longest(section, at);
    if (found) return { text: section.slice(at, found.end), end: found.end };
    const replaced = map?.longest(section, at);
    if (replaced) return replaced;
    const character = String.fromCodePoint(section.codePointAt(at)!);
    return { text: character, end: at + character.length };
  };
  return (raw, isStart) => {
    const section = raw.replace(/\p{Surrogate}/gu, "\uFFFD");
    const parts: string[] = [];
    let afterSpace = removeExtraWhitespace;
    for (let at = 0; at < section.length; ) {
      const { text, end } = next(section, at);
      at = end;
      const kept = afterSpace ? text.replace(/^ +/, "") : text;
      if (kept !== "") {
        parts.push(escapeWhitespace ? kept.replaceAll(" ", "▁") : kept);
        afterSpace = removeExtraWhitespace && kept.endsWith(" ");
      }
    }
    let normalized = parts.join("");
    if (removeExtraWhitespace) while (normalized.endsWith(space)) normalized = normalized.slice(0, -1);
    return normalized !== "" && dummyPrefix && (isLegacy || isStart) ? space + normalized : normalized;
  };
}
