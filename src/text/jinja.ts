/** @file Chat templates in Jinja, as transformers keeps them beside a tokenizer. */

import { failure, misuse } from "../tensor/index.js";
import { type ChatTemplate, imageMark, type Turn } from "./chat.js";
import { namedRoles, readTokenizerConfig } from "./tokenizer-config.js";
import { object, parseObject } from "./vocabulary-files.js";

/** The files of a folder that hold a chat template and the special tokens that it may name. */
export const chatTemplateFiles = [
  "chat_template.jinja",
  "chat_template.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
] as const;

export type ChatTemplateContents = Readonly<Partial<Record<(typeof chatTemplateFiles)[number], string>>>;

/**
 * The chat template of a model's folder: chat_template.jinja, chat_template.json, or the field `chat_template` of
 * tokenizer_config.json, of several the one named "default"; undefined when there is none. Jinja is loaded only for one.
 * @throws FILE_CORRUPT, TEMPLATE when its Jinja cannot be read
 */
export async function readChatTemplate(files: ChatTemplateContents): Promise<ChatTemplate | undefined> {
  const json = (file: "chat_template.json" | "tokenizer_config.json") =>
    parseObject(file, files[file] ?? "{}");
  const config = json("tokenizer_config.json");
  const listed = json("chat_template.json").chat_template ?? config.chat_template;
  const source = files["chat_template.jinja"] ?? (Array.isArray(listed) ? defaultOf(listed) : listed);
  if (typeof source !== "string") return undefined;
  const { named } = readTokenizerConfig(files);
  const tokens = namedRoles.map((role) => [role, named(role)] as const);
  return jinjaTemplate(source, Object.fromEntries(tokens.filter(([, token]) => token !== undefined)));
}

function defaultOf(templates: readonly unknown[]): unknown {
  return templates.map(object).find(({ name }) => name === "default")?.template;
}

/**
 * A chat template from its Jinja.
 * @param tokens what else the template may name: `bos_token`, `eos_token`
 * @throws TEMPLATE when it cannot be read; `render` throws TEMPLATE when the template refuses the turns
 */
export async function jinjaTemplate(
  source: string,
  tokens: Record<string, unknown> = {},
): Promise<ChatTemplate> {
  const { Template } = await import("@huggingface/jinja");
  const template = readJinja(() => new Template(source));
  renameStrips(template.parsed);
  const write = (messages: readonly object[], goesOn: boolean) =>
    // What nobody gives is None to a template, not undefined.
    template.render({
      ...strips,
      ...tokens,
      tools: null,
      documents: null,
      messages,
      add_generation_prompt: goesOn,
    });
  const toMessage = takesParts((message) => write([message], true)) ? partsMessage : textMessage;
  return {
    name: "jinja",
    stop: [],
    marks: [],
    render(turns) {
      if (turns.length === 0) throw misuse("TEMPLATE", "A chat template needs a turn.");
      try {
        return write(turns.map(toMessage), turns.at(-1)!.role !== "assistant");
      } catch (cause) {
        throw misuse("TEMPLATE", `The chat template refuses the turns: ${(cause as Error).message}`);
      }
    },
  };
}

/** Python's `strip`, `lstrip` and `rstrip` of given characters, of which the interpreter would strip white space. */
const strips = Object.fromEntries(
  (["strip", "lstrip", "rstrip"] as const).map((name) => [
    `${name} characters`,
    (text: unknown, characters: unknown): string => {
      if (typeof text !== "string" || typeof characters !== "string")
        throw new Error(`${name} takes characters of a text`);
      const all = [...text];
      const isKept = (one: string) => ![...characters].includes(one);
      const start = name === "rstrip" ? 0 : all.findIndex(isKept);
      const end = name === "lstrip" ? all.length - 1 : all.findLastIndex(isKept);
      return start === -1 ? "" : all.slice(start, end + 1).join("");
    },
  ]),
);

/** Turns `text.strip(characters)` into a call of `strips` wherever it stands in a parsed template. */
function renameStrips(node: unknown): void {
  if (typeof node !== "object" || node === null) return;
  for (const child of Object.values(node)) renameStrips(child);
  const { type, callee, args } = node as { type?: string; callee?: Callee; args?: unknown[] };
  if (type !== "CallExpression" || callee?.type !== "MemberExpression" || args?.length !== 1) return;
  const name = `${callee.property.value} characters`;
  if (callee.computed || !Object.hasOwn(strips, name)) return;
  Object.assign(node, { callee: { ...callee.property, value: name }, args: [callee.object, ...args] });
}

interface Callee {
  type: string;
  object: unknown;
  property: { value?: unknown };
  computed: boolean;
}

function readJinja<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw failure("TEMPLATE", `The chat template cannot be read: ${(cause as Error).message}`, cause);
  }
}

/**
 * Whether messages' content is a list of parts rather than a text, by what the template makes of a picture and some words.
 * One that takes both is given parts, as transformers' processors do, unless it leaves the picture out or writes it in
 * signs of its own.
 */
function takesParts(write: (message: object) => string): boolean {
  const turn: Turn = { role: "user", text: `${imageMark}\nA few words.` };
  const written = (message: object): "whole" | "words" | "nothing" => {
    try {
      const text = write(message);
      if (!text.includes("A few words.") || text.includes(raw)) return "nothing";
      return text.split(imageMark).length === 2 ? "whole" : "words";
    } catch {
      return "nothing";
    }
  };
  // A list that is printed as it is would have its words in it, too.
  const raw = "printed-as-it-is";
  const { role, content } = partsMessage(turn);
  const parts = written({ role, content: content.map((part) => ({ ...part, [raw]: raw })) });
  return parts === "whole" || (parts === "words" && written(textMessage(turn)) === "nothing");
}

function textMessage({ role, text }: Turn): object {
  return { role, content: text };
}

/** Pictures and texts in order; the line's end after a picture belongs to the template. */
function partsMessage({ role, text }: Turn): { role: Turn["role"]; content: object[] } {
  const [first, ...rest] = text.split(imageMark);
  const said = (text: string) => (text === "" ? [] : [{ type: "text", text }]);
  const content = rest.flatMap((part) => [{ type: "image" }, ...said(part.replace(/^\n/, ""))]);
  return { role, content: [...said(first!), ...content] };
}
