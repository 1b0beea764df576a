/** @file Chat templates in Jinja, as transformers keeps them beside a tokenizer. */

import { failure, misuse } from "../tensor/index.js";
import { type ChatTemplate, imageMark, type Turn } from "./chat.js";
import { object, parseObject } from "./vocabulary-files.js";

/** The files of a folder that hold a chat template. */
export const chatTemplateFiles = [
  "chat_template.jinja",
  "chat_template.json",
  "tokenizer_config.json",
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
  const token = (role: string) => object(config[role]).content ?? config[role];
  return jinjaTemplate(source, { bos_token: token("bos_token"), eos_token: token("eos_token") });
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
  const toMessage = takesParts(source) ? partsMessage : textMessage;
  return {
    name: "jinja",
    stop: [],
    marks: [],
    render(turns) {
      if (turns.length === 0) throw misuse("TEMPLATE", "A chat template needs a turn.");
      const values = {
        ...tokens,
        messages: turns.map(toMessage),
        add_generation_prompt: turns.at(-1)!.role !== "assistant",
      };
      try {
        return template.render(values);
      } catch (cause) {
        throw misuse("TEMPLATE", `The chat template refuses the turns: ${(cause as Error).message}`);
      }
    },
  };
}

function readJinja<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw failure("TEMPLATE", `The chat template cannot be read: ${(cause as Error).message}`, cause);
  }
}

/** Whether the template goes through the parts of a message's content instead of printing it. */
function takesParts(source: string): boolean {
  const content = String.raw`message(\.content|\[['"]content['"]\])`;
  return new RegExp(String.raw`for\s+\w+\s+in\s+${content}|${content}\s*\|\s*selectattr`).test(source);
}

function textMessage({ role, text }: Turn): object {
  return { role, content: text };
}

/** Pictures and texts in order; the line's end after a picture belongs to the template. */
function partsMessage({ role, text }: Turn): object {
  const [first, ...rest] = text.split(imageMark);
  const said = (text: string) => (text === "" ? [] : [{ type: "text", text }]);
  const content = rest.flatMap((part) => [{ type: "image" }, ...said(part.replace(/^\n/, ""))]);
  return { role, content: [...said(first!), ...content] };
}
