/** @file tokenizer_config.json and its kin: which tokens are special, what begins and ends a text, chat templates. */

import type { AddedToken } from "./added-tokens.js";
import type { TokenId } from "./byte-pairs.js";
import type { TokenizerParts, TokenRoles } from "./tokenizer.js";
import { contentOf, object, parseObject, readId } from "./vocabulary-files.js";

type FindId = (token: string) => TokenId | undefined;

/** What tokenizer_config.json, special_tokens_map.json and added_tokens.json say. */
export interface TokenizerConfig {
  /** The fields of tokenizer_config.json. */
  json: Record<string, unknown>;
  /** Tokens with ids of their own. */
  added: readonly { file: string; id: TokenId; token: unknown }[];
  /** The special tokens that have names ("bos_token") or are additional. */
  special: readonly string[];
  /** Of a role ("bos_token"): its token. */
  named(role: string): string | undefined;
  roles(id: FindId): TokenRoles;
  maxLength: number | undefined;
}

/** The special tokens that have names, which chat templates know them by. */
export const namedRoles = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;

/** What LLaMA's tokenizers call them where no file does. */
const llamaRoles = { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" };

/** transformers writes 1e30 for "no limit". */
const longest = 2 ** 24;

/** @throws FILE_CORRUPT */
export function readTokenizerConfig(files: {
  "tokenizer_config.json"?: string | undefined;
  "special_tokens_map.json"?: string | undefined;
  "added_tokens.json"?: string | undefined;
}): TokenizerConfig {
  const parse = (file: keyof typeof files) => {
    const text = files[file];
    return text === undefined ? {} : parseObject(file, text);
  };
  const json = parse("tokenizer_config.json");
  const map = parse("special_tokens_map.json");
  const usual: Readonly<Record<string, string>> = isLlama(json) ? llamaRoles : {};
  const named = (role: string) =>
    role in json || role in map ? (contentOf(json[role]) ?? contentOf(map[role])) : usual[role];
  const additional = [json, map].flatMap(
    ({ additional_special_tokens: tokens, extra_special_tokens: extra }) => [
      ...(Array.isArray(tokens) ? tokens : []),
      ...Object.values(object(extra)),
    ],
  );
  const special = [...namedRoles.map(named), ...additional.map(contentOf)].filter((one) => one !== undefined);
  const find = (role: string, id: FindId) => {
    const token = named(role);
    return token === undefined ? undefined : id(token);
  };
  const { model_max_length: length } = json;
  return {
    json,
    added: [
      ...Object.entries(parse("added_tokens.json")).map(([token, id]) => ({
        file: "added_tokens.json",
        id: readId("added_tokens.json", token, id),
        token,
      })),
      ...Object.entries(object(json.added_tokens_decoder)).map(([id, token]) => ({
        file: "tokenizer_config.json",
        id: readId("tokenizer_config.json", contentOf(token) ?? id, Number(id)),
        token,
      })),
    ],
    special: [...new Set(special)],
    named,
    roles: (id) => ({
      start: find("bos_token", id),
      end: find("eos_token", id),
      padding: find("pad_token", id),
      unknown: find("unk_token", id),
    }),
    maxLength:
      typeof length === "number" && length >= 1 && length <= longest ? Math.floor(length) : undefined,
  };
}

/**
 * The added tokens of a tokenizer: those its own file lists, those of the config beside it, and the special ones that
 * the vocabulary knows.
 */
export function readAddedTokens(
  file: string,
  listed: readonly unknown[],
  { added, special }: TokenizerConfig,
  id: FindId,
): AddedToken[] {
  const tokens = new Map<TokenId, AddedToken>();
  const own = listed.map((token) => ({
    file,
    id: readId(file, contentOf(token) ?? "", object(token).id),
    token,
  }));
  for (const { id, token } of [...own, ...added]) {
    const content = contentOf(token);
    if (content === undefined) continue;
    const isSpecial = object(token).special === true || special.includes(content);
    const flags = object(typeof token === "string" ? (tokens.get(id) ?? {}) : token);
    tokens.set(id, {
      id,
      content,
      special: isSpecial,
      normalized: typeof flags.normalized === "boolean" ? flags.normalized : !isSpecial,
      singleWord: flags.single_word === true,
      lstrip: flags.lstrip === true,
      rstrip: flags.rstrip === true,
    });
  }
  const contents = new Set([...tokens.values()].map(({ content }) => content));
  for (const content of special) {
    const known = id(content);
    if (known === undefined || contents.has(content)) continue;
    tokens.set(known, {
      id: known,
      content,
      special: true,
      normalized: false,
      singleWord: false,
      lstrip: false,
      rstrip: false,
    });
  }
  return [...tokens.values()];
}

/**
 * What begins and ends a text: what the tokenizer's own template says. Of LLaMA's tokenizers `add_bos_token` and
 * `add_eos_token` are heard, each for its side, as transformers hears them; of others they say nothing.
 */
export function withTemplateTokens(
  template: TokenizerParts["template"],
  { json, roles }: TokenizerConfig,
  id: FindId,
): TokenizerParts["template"] {
  if (!isLlama(json)) return template;
  const { start, end } = roles(id);
  const side = (flag: unknown, token: TokenId | undefined, own: readonly TokenId[]) => {
    if (typeof flag !== "boolean") return own;
    return flag && token !== undefined ? [token] : [];
  };
  return {
    before: side(json.add_bos_token, start, template.before),
    after: side(json.add_eos_token, end, template.after),
  };
}

function isLlama({ tokenizer_class: name }: Record<string, unknown>): boolean {
  return name === "LlamaTokenizer" || name === "LlamaTokenizerFast";
}
