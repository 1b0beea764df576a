/** @file Chat templates and labels against LLaVA's training code and transformers. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  chatTemplate,
  encodeWithImages,
  expandImageTokens,
  imagesFirst,
  jinjaTemplate,
  labelConversation,
  readChatTemplate,
  readTokenizer,
  type Turn,
} from "../src/text/index.js";
import { goldenPath } from "./golden.js";

interface LlavaCase {
  turns: string[];
  moved: string[];
  prompts: Record<string, string>;
  asked: Record<string, string>;
  labels: Record<string, [ids: number[], labels: number[]]>;
}

const golden: {
  llava: LlavaCase[];
  templates: Record<string, string>;
  jinja: { name: string; turns: Turn[]; text: string }[];
} = JSON.parse(readFileSync(goldenPath("conversations", "cases.json"), "utf8"));

const tokenizer = await readTokenizer({
  "tokenizer.json": readFileSync(goldenPath("tokenizer-own", "llama.json")),
  "tokenizer_config.json": JSON.stringify({ bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" }),
});

const turnsOf = (texts: readonly string[]): Turn[] =>
  texts.map((text, i) => ({ role: i % 2 === 0 ? "user" : "assistant", text }));

describe.each(golden.llava.map((one) => [one.turns.join(" | ").slice(0, 50), one] as const))(
  "%j",
  (_, one) => {
    const { turns, moved, prompts, asked, labels } = one;

    it("has its pictures in front, as LLaVA's", () => {
      expect(turns.map(imagesFirst)).toEqual(moved);
    });

    it.each(Object.keys(prompts))("is written as LLaVA writes it: %s", (name) => {
      const template = chatTemplate(name);
      expect(template.render(turnsOf(moved))).toBe(prompts[name]);
      expect(template.render(turnsOf(moved.slice(0, -1)))).toBe(asked[name]);
    });

    it.each(Object.keys(labels))("has LLaVA's ids and labels: %s", (name) => {
      const learnt = labelConversation(tokenizer, chatTemplate(name), turnsOf(moved));
      expect([learnt.ids, learnt.labels]).toEqual(labels[name]);
      expect(learnt.mismatch === undefined).toBe(labels[name]![1].some((label) => label >= 0));
    });
  },
);

describe("a chat template in Jinja", () => {
  it.each(golden.jinja)("is rendered as by transformers: $name, $text", async ({ name, turns, text }) => {
    const template = await jinjaTemplate(golden.templates[name]!, { bos_token: "<s>", eos_token: "</s>" });
    expect(template.render(turns)).toBe(text);
  });

  it.each([
    ["chatml", "no<|im_end|> yes<|im_end|>"],
    ["parts", "no yes"],
    ["vicuna", "no yes"],
  ])("shows which tokens are answers: %s", async (name, answers) => {
    const template = await jinjaTemplate(golden.templates[name]!, { bos_token: "<s>", eos_token: "</s>" });
    const turns = turnsOf(["<image>\nIs it red?", "no", "And the cat?", "yes"]);
    const { ids, labels, mismatch } = labelConversation(tokenizer, template, turns);
    expect(mismatch).toBeUndefined();
    const learnt = tokenizer.decode(
      ids.filter((_, i) => labels[i]! >= 0),
      { skipSpecialTokens: true },
    );
    expect(learnt.trim().split(/\s+/).join(" ")).toBe(answers);
  });

  it("is found in each of the files that hold one", async () => {
    const chat_template = "{{ messages[0]['content'] + eos_token }}";
    const named = [
      { name: "tool_use", template: "x" },
      { name: "default", template: chat_template },
    ];
    const config = { eos_token: { content: "</s>" } };
    const places = [
      { "tokenizer_config.json": JSON.stringify({ ...config, chat_template }) },
      { "tokenizer_config.json": JSON.stringify({ ...config, chat_template: named }) },
      {
        "tokenizer_config.json": JSON.stringify(config),
        "chat_template.json": JSON.stringify({ chat_template }),
      },
      { "tokenizer_config.json": JSON.stringify(config), "chat_template.jinja": chat_template },
    ];
    for (const files of places) {
      expect((await readChatTemplate(files))!.render([{ role: "user", text: "hi" }])).toBe("hi</s>");
    }
    expect(await readChatTemplate({})).toBeUndefined();
  });

  it("fails with a reason", async () => {
    await expect(jinjaTemplate("{% for %}")).rejects.toThrow(/chat template cannot be read/);
    const template = await jinjaTemplate(golden.templates.vicuna!, { bos_token: "", eos_token: "" });
    expect(() => template.render([{ role: "assistant", text: "hi" }])).toThrow(/Roles must alternate/);
  });
});

describe("turns", () => {
  it("are the user's and the assistant's in turn", () => {
    const template = chatTemplate("v1");
    expect(() => template.render([{ role: "assistant", text: "hi" }])).toThrow(/Turn 0 .* is the user's/);
    expect(() => template.render([])).toThrow(/needs a turn/);
    expect(() => chatTemplate("v2")).toThrow(/"v2": there are vicuna_v1, /);
  });

  it("may begin with the system's", () => {
    const turns: Turn[] = [
      { role: "system", text: "Be brief." },
      { role: "user", text: "hi" },
    ];
    expect(chatTemplate("v1").render(turns)).toBe("Be brief. USER: hi ASSISTANT:");
  });

  it("whose answers cannot be found are an error on demand", () => {
    const turns = turnsOf(["a", "b</s>"]);
    expect(() => labelConversation(tokenizer, chatTemplate("v1"), turns, { onMismatch: "error" })).toThrow(
      /turn 1 spells "<\/s>"/,
    );
  });

  it("are cut to a length", () => {
    const whole = labelConversation(tokenizer, chatTemplate("v1"), turnsOf(["a", "b"]));
    const cut = labelConversation(tokenizer, chatTemplate("v1"), turnsOf(["a", "b"]), { maxLength: 9 });
    expect(cut).toEqual({
      ids: whole.ids.slice(0, 9),
      labels: whole.labels.slice(0, 9),
      cut: whole.ids.length - 9,
    });
  });
});

describe("pictures among the tokens", () => {
  it("have one id, and as many as they have features in transformers' way", () => {
    const id = tokenizer.id("<image>")!;
    const ids = encodeWithImages(tokenizer, "<image>a<image>", { imageToken: id });
    expect(ids).toEqual(tokenizer.encode("<image>a<image>"));
    expect(expandImageTokens(ids, id, [2, 3])).toEqual([1, id, id, ...ids.slice(2, -1), id, id, id]);
    expect(() => expandImageTokens(ids, id, [2])).toThrow(/2 image tokens and 1 pictures/);
  });
});
