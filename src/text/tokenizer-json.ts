/** @file Reads tokenizer.json, the file of Hugging Face's tokenizers: byte pairs (LLaMA, Qwen2, GPT-2) and unigrams. */

import type { TokenId } from "./byte-pairs.js";
import { readDecoder } from "./decoders.js";
import { readNormalizer } from "./normalizers.js";
import { readPreTokenizer } from "./pre-tokenizers.js";
import { BytePairModel, byteTokens, type TokenModel, UnigramModel } from "./token-models.js";
import { Tokenizer, type TokenizerParts } from "./tokenizer.js";
import { readAddedTokens, type TokenizerConfig, withTemplateTokens } from "./tokenizer-config.js";
import {
  corrupt,
  flattened,
  listedPairs,
  object,
  parseObject,
  readId,
  readIds,
  readMerges,
  unsupported,
} from "./vocabulary-files.js";

const file = "tokenizer.json";

/**
 * A tokenizer from the text of its tokenizer.json.
 * @throws FILE_CORRUPT, TOKENIZER_UNSUPPORTED naming the part that is not known here
 */
export async function tokenizerFromJson(text: string, config: TokenizerConfig): Promise<Tokenizer> {
  const json = parseObject(file, text);
  const [normalize, split, writing] = await Promise.all([
    readNormalizer(json.normalizer, file),
    readPreTokenizer(json.pre_tokenizer, file),
    readDecoder(json.decoder, file),
  ]);
  const { vocabulary, model } = readModel(object(json.model));
  const listed = Array.isArray(json.added_tokens) ? json.added_tokens : [];
  const added = readAddedTokens(file, listed, config, (token) => vocabulary.get(token));
  const id = (token: string) => added.find(({ content }) => content === token)?.id ?? vocabulary.get(token);
  return new Tokenizer({
    vocabulary,
    added,
    normalize,
    split,
    model,
    template: withTemplateTokens(readTemplate(json.post_processor), config, id),
    writing,
    roles: config.roles(id),
    maxLength: config.maxLength,
  });
}

function readModel(model: Record<string, unknown>): { vocabulary: Map<string, TokenId>; model: TokenModel } {
  const type = model.type ?? (Array.isArray(model.vocab) ? "Unigram" : "BPE");
  if (type === "BPE") {
    for (const field of ["continuing_subword_prefix", "end_of_word_suffix", "dropout"]) {
      if (model[field])
        throw unsupported(file, `${field} ${JSON.stringify(model[field])}`, "it must be null");
    }
    const vocabulary = readIds(file, object(model.vocab));
    const merges = readMerges(file, listedPairs(model.merges), (i) => `model.merges[${i}]`, vocabulary);
    let size = 0;
    for (const id of vocabulary.values()) size = Math.max(size, id + 1);
    const pairs = new BytePairModel({
      ids: vocabulary,
      merges,
      size,
      unknown: typeof model.unk_token === "string" ? vocabulary.get(model.unk_token) : undefined,
      fuse: model.fuse_unk === true,
      bytes: model.byte_fallback === true ? byteTokens((token) => vocabulary.get(token)) : undefined,
      ignoreMerges: model.ignore_merges === true,
    });
    return { vocabulary, model: pairs };
  }
  if (type === "Unigram") {
    const pieces = readUnigrams(model.vocab);
    const vocabulary = new Map(pieces.map(({ text, id }) => [text, id]));
    const unigram = new UnigramModel({
      pieces,
      unknown: model.unk_id == null ? undefined : readId(file, "unk_id", model.unk_id),
      bytes: model.byte_fallback === true ? byteTokens((token) => vocabulary.get(token)) : undefined,
    });
    return { vocabulary, model: unigram };
  }
  throw unsupported(file, `a model of type ${JSON.stringify(type)}`, "known: BPE, Unigram");
}

function readUnigrams(vocab: unknown): { text: string; id: TokenId; score: number }[] {
  if (!Array.isArray(vocab) || vocab.length === 0) throw corrupt(file, "its vocabulary is empty");
  return vocab.map((entry, id) => {
    const [text, score] = Array.isArray(entry) ? entry : [];
    if (typeof text === "string" && typeof score === "number") return { text, id, score };
    throw corrupt(
      file,
      `model.vocab[${id}] is ${JSON.stringify(entry)?.slice(0, 80)}, not a piece and its score`,
    );
  });
}

function readTemplate(config: unknown): TokenizerParts["template"] {
  const [template] = flattened(config, "processors").filter(({ type }) => type !== "ByteLevel");
  if (!template) return { before: [], after: [] };
  if (template.type === "RobertaProcessing" || template.type === "BertProcessing") {
    return { before: [readPaired(template.cls)], after: [readPaired(template.sep)] };
  }
  if (template.type !== "TemplateProcessing" || !Array.isArray(template.single)) {
    throw unsupported(
      file,
      `the post-processor ${JSON.stringify(template.type)}`,
      "known: TemplateProcessing, RobertaProcessing, BertProcessing, ByteLevel",
    );
  }
  const tokens = object(template.special_tokens);
  const [before, after]: [TokenId[], TokenId[]] = [[], []];
  let into = before;
  for (const part of template.single.map(object)) {
    if (part.Sequence) into = after;
    const name = object(part.SpecialToken).id;
    if (typeof name !== "string") continue;
    const ids = object(tokens[name]).ids;
    for (const id of Array.isArray(ids) ? ids : []) into.push(readId(file, name, id));
  }
  return { before, after };
}

/** A special token as `["<s>", 0]`. */
function readPaired(token: unknown): TokenId {
  const [name, id] = Array.isArray(token) ? token : [];
  return readId(file, String(name), id);
}
