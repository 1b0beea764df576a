/** @file Conversations as text: LLaVA's own templates, spelt as its `conversation.py` spells them. */

import { misuse } from "../tensor/index.js";

/** What is said in one go. Where a picture is shown, the text has `imageMark`. */
export interface Turn {
  role: "system" | "user" | "assistant";
  text: string;
}

/** Stands for a picture in the text of a turn. */
export const imageMark = "<image>";

/**
 * The question in what a user says, as diffusion is told it: without the places of pictures, and up to the first question
 * mark. What follows, such as options or how to answer, is for the language model alone.
 */
export function questionIn(text: string): string {
  const words = text.replaceAll(imageMark, " ").replace(/\s+/g, " ").trim();
  return /^.*?[?？؟]/.exec(words)?.[0] ?? words;
}

/** How conversations are written for a language model. */
export interface ChatTemplate {
  readonly name: string;
  /**
   * The conversation as text; after a user's turn it ends where the assistant's answer begins.
   * @throws TEMPLATE when the turns do not follow one another as the template needs it
   */
  render(turns: readonly Turn[]): string;
  /** What a model that learnt the template writes after an answer, beside its end token. */
  readonly stop: readonly string[];
  /** What no turn may spell, because it would be read as the beginning or the end of another turn. */
  readonly marks: readonly string[];
  /** Whether of what the user says the pictures alone are written. */
  readonly leavesOutQuestions?: boolean;
}

interface Style {
  system: string;
  /** What the user and the assistant are called. */
  roles: readonly [user: string, assistant: string];
  /** What ends a turn of the user and one of the assistant. */
  ends: readonly [user: string, assistant: string];
  /** What names the one who speaks. */
  names?: "role" | "instruction" | "none";
  marks?: readonly string[];
}

const polite = (who: string) =>
  `A chat between a curious ${who} and an artificial intelligence assistant. ` +
  `The assistant gives helpful, detailed, and polite answers to the ${who}'s questions.`;

const helpful =
  "You are a helpful language and vision assistant. You are able to understand the visual content that the user provides, " +
  "and assist the user with a variety of tasks using natural language.";

/** The separator styles TWO, SINGLE, LLAMA_2 and PLAIN of LLaVA's conversations. */
const styles: Readonly<Record<string, Style>> = {
  vicuna_v1: {
    system: polite("user"),
    roles: ["USER", "ASSISTANT"],
    ends: [" ", "</s>"],
    marks: [" ASSISTANT: ", "</s>"],
  },
  llava_v1: {
    system: polite("human"),
    roles: ["USER", "ASSISTANT"],
    ends: [" ", "</s>"],
    marks: [" ASSISTANT: ", "</s>"],
  },
  llava_v0: { system: polite("human"), roles: ["Human", "Assistant"], ends: ["###", "###"], marks: ["###"] },
  llava_llama_2: {
    system: helpful,
    roles: ["USER", "ASSISTANT"],
    ends: ["<s>", "</s>"],
    names: "instruction",
    marks: ["[/INST] ", "</s>"],
  },
  mistral_instruct: {
    system: "",
    roles: ["USER", "ASSISTANT"],
    ends: ["", "</s>"],
    names: "instruction",
    marks: ["[/INST] ", "</s>"],
  },
  plain: { system: "", roles: ["", ""], ends: ["", "\n"], names: "none" },
};

const aliases: Readonly<Record<string, string>> = {
  v1: "vicuna_v1",
  mistral: "mistral_instruct",
};

/** The names that `chatTemplate` knows. */
export const chatTemplateNames: readonly string[] = [...Object.keys(styles), ...Object.keys(aliases)];

/**
 * One of LLaVA's templates by name. A system turn at the beginning takes the place of the template's own words.
 * @throws misuse TEMPLATE naming the names that there are
 */
export function chatTemplate(name: string): ChatTemplate {
  const style = styles[aliases[name] ?? name];
  if (!style) {
    throw misuse(
      "TEMPLATE",
      `No chat template is called ${JSON.stringify(name)}: there are ${chatTemplateNames.join(", ")}.`,
    );
  }
  const [, end] = style.ends;
  return {
    name,
    stop: style.names === "instruction" || end === "</s>" ? [] : [end],
    marks: style.marks ?? [],
    leavesOutQuestions: style.names === "none",
    render(turns) {
      const hasSystem = turns[0]?.role === "system";
      const system = hasSystem ? turns[0]!.text : style.system;
      const spoken = hasSystem ? turns.slice(1) : turns;
      checkOrder(name, spoken);
      if (style.names === "instruction") return instructions(style, system, spoken);
      if (style.names === "none") return spoken.map((turn) => captioned(style, turn)).join("");
      const said = spoken.map(({ text }, i) => `${style.roles[i % 2]}: ${text}${style.ends[i % 2]}`);
      const answer = spoken.length % 2 === 1 ? `${style.roles[1]}:` : "";
      return system + style.ends[0] + said.join("") + answer;
    },
  };
}

/** User and assistant take turns; the user begins. @throws misuse TEMPLATE */
function checkOrder(name: string, turns: readonly Turn[]): void {
  if (turns.length === 0) throw misuse("TEMPLATE", `The template ${name} needs a turn.`);
  turns.forEach(({ role }, i) => {
    const expected = i % 2 === 0 ? "user" : "assistant";
    if (role !== expected) {
      throw misuse("TEMPLATE", `Turn ${i} of the template ${name} is the ${expected}'s, not the ${role}'s.`);
    }
  });
}

/** LLaMA 2's form: `[INST] <<SYS>> ... question [/INST] answer </s>`. The first "<s>" is left to the tokenizer. */
function instructions({ ends }: Style, system: string, turns: readonly Turn[]): string {
  const before = system === "" ? "" : `<<SYS>>\n${system}\n<</SYS>>\n\n`;
  const said = turns.map(({ text }, i) => {
    if (i % 2 === 1) return ` ${text} ${ends[1]}`;
    return `${i === 0 ? "" : ends[0]}[INST] ${i === 0 ? before : ""}${text} [/INST]`;
  });
  return said.join("");
}

/** Pictures and what is said of them; what the user asks is thrown away, as LLaVA's first stage does. */
function captioned({ ends }: Style, { role, text }: Turn): string {
  return role === "user" ? imageMark.repeat(text.split(imageMark).length - 1) + ends[0] : text + ends[1];
}

/**
 * A turn with its pictures first, each on a line of its own, as LLaVA trains: "What is <image> this?" becomes
 * "<image>\nWhat is  this?".
 */
export function imagesFirst(text: string): string {
  const parts = text.split(imageMark);
  if (parts.length === 1) return text;
  return (`${imageMark}\n`.repeat(parts.length - 1) + parts.join("").trim()).trim();
}
