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

  // All but the first take lists of parts, each in its own words.
  it.each([
    ["{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}", "user: <image>\nWhat?\n"],
    [
      "{% for msg in messages %}{{ msg.role }}: {% for part in msg.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}",
      "user: <image>What?",
    ],
    [
      "{% for message in messages %}{% set content = message['content'] %}{% for part in content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}",
      "<image>What?",
    ],
    [
      "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}{% if c.type == 'image' %}[<image>]{% elif 'text' in c %}{{ c.text }}{% endif %}{% endfor %}{% endif %}{% endfor %}",
      "[<image>]What?",
    ],
    // Pictures in signs of its own, or none, where a text would do.
    [
      "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}{% if c.type == 'image' %}<|pad|>{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}{% endfor %}",
      "<image>\nWhat?",
    ],
    [
      "{% for c in messages[0].content %}{% if c.type == 'image' %}<|pad|>{% else %}{{ c.text }}{% endif %}{% endfor %}",
      "<|pad|>What?",
    ],
  ])("is given what it takes: %s", async (source, text) => {
    const template = await jinjaTemplate(source);
    expect(template.render([{ role: "user", text: "<image>\nWhat?" }])).toBe(text);
  });

  it("strips the characters that it names, as Python does", async () => {
    const source =
      "{% for m in messages %}{% set last = m.content.split('</think>')[-1].lstrip('\\n') %}" +
      "[{{ last }}|{{ m.content.strip('ab') }}|{{ m['content'].rstrip('x🦄').strip() }}|{{ 'xx'.strip('x') }}]{% endfor %}";
    const template = await jinjaTemplate(source);
    const said = "ab </think>\n\n 🦄bc x🦄x";
    expect(template.render([{ role: "user", text: said }])).toBe(
      "[ 🦄bc x🦄x| </think>\n\n 🦄bc x🦄x|ab </think>\n\n 🦄bc|]",
    );
  });

  it("knows the special tokens, wherever they are named, and that there are no tools", async () => {
    const chat_template =
      "{{ bos_token }}{{ unk_token }}{{ pad_token }}{{ sep_token }}{{ cls_token }}{{ mask_token }}{{ eos_token }}" +
      "{% if tools is not none or documents is not none %}tools{% endif %}{{ messages[0].content }}";
    const template = await readChatTemplate({
      "tokenizer_config.json": JSON.stringify({ chat_template, unk_token: "U", pad_token: { content: "P" } }),
      "special_tokens_map.json": JSON.stringify({
        bos_token: "B",
        cls_token: { content: "C" },
        mask_token: "M",
      }),
    });
    expect(template!.render([{ role: "user", text: "hi" }])).toBe("BUPCMhi");
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
    // LLaVA has other conversations by these names.
    for (const name of ["v0", "llama_2"]) expect(() => chatTemplate(name)).toThrow(/No chat template/);
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

describe("a template that writes the token which begins a text itself", () => {
  const source =
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token if m.role == 'assistant' }}{% endfor %}";

  it("gets no second one, neither asked nor learnt", async () => {
    const template = await jinjaTemplate(source, { bos_token: "<s>", eos_token: "</s>" });
    const turns = turnsOf(["<image>\nhi", "hi"]);
    const starts = (ids: readonly number[]) => ids.filter((id) => id === tokenizer.start).length;
    const asked = encodeWithImages(tokenizer, template.render(turns.slice(0, 1)));
    expect([asked[0], starts(asked)]).toEqual([tokenizer.start, 1]);
    for (const hasImages of [true, false]) {
      const { ids, mismatch } = labelConversation(tokenizer, template, turns, { hasImages });
      expect([ids[0], starts(ids), ids.at(-1), mismatch]).toEqual([1, 1, 2, undefined]);
    }
  });

  it("gets one where it does not", () => {
    expect(encodeWithImages(tokenizer, "hi").slice(0, 2)).toEqual([1, ...tokenizer.encode("hi").slice(1, 2)]);
  });
});

describe("pictures among the tokens", () => {
  // A space is put before the text alone, not before what follows a special token.
  const first = async (config: object = {}) => {
    const json = JSON.parse(readFileSync(goldenPath("pipeline-llava", "tokenizer.json"), "utf8"));
    json.normalizer = null;
    json.pre_tokenizer = { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false };
    return readTokenizer({
      "tokenizer.json": JSON.stringify(json),
      "tokenizer_config.json": JSON.stringify(config),
    });
  };

  it.each([
    [
      "USER: <image>\nWhat? ASSISTANT:",
      [
        1, 531, 88, 618, 72, 85, 557, 531, 640, 569, 315, 281, 554, 531, 68, 618, 618, 558, 618, 574, 68, 81,
        574, 557,
      ],
    ],
    [
      "USER: <image> and <image>x ASSISTANT:",
      [
        1, 531, 88, 618, 72, 85, 557, 531, 640, 340, 531, 640, 559, 531, 68, 618, 618, 558, 618, 574, 68, 81,
        574, 557,
      ],
    ],
  ])("are found in the text as a whole, as transformers has it: %j", async (text, ids) => {
    expect(encodeWithImages(await first(), text, { imageToken: 640, ownToken: 640 })).toEqual(ids);
  });

  it("may go by another name in the tokenizer", async () => {
    const json = readFileSync(goldenPath("pipeline-llava", "tokenizer.json"), "utf8");
    const other = await readTokenizer({ "tokenizer.json": json.replaceAll("<image>", "<|picture|>") });
    const own = await readTokenizer({ "tokenizer.json": json });
    const text = "USER: <image>\nWhat?";
    expect(encodeWithImages(other, text, { imageToken: 640, ownToken: 640 })).toEqual(own.encode(text));
  });

  it.each([
    ["without a name for what begins a text", {}],
    ["with what ends a text", { add_eos_token: true, eos_token: "</s>", tokenizer_class: "LlamaTokenizer" }],
  ])("part texts that are begun and ended once: %s", async (_, config) => {
    const tokenizer = await first(config);
    const ids = encodeWithImages(tokenizer, "<image> a <image> b", { imageToken: -200 });
    expect(ids.filter((id) => id === 1)).toEqual([1]);
    expect(ids.indexOf(2)).toBe("add_eos_token" in config ? ids.length - 1 : -1);
    expect(ids.slice(0, 2)).toEqual([1, -200]);
  });

  it("have one id, and as many as they have features in transformers' way", () => {
    const id = tokenizer.id("<image>")!;
    const ids = encodeWithImages(tokenizer, "<image>a<image>", { imageToken: id });
    expect(ids).toEqual(tokenizer.encode("<image>a<image>"));
    expect(expandImageTokens(ids, id, [2, 3])).toEqual([1, id, id, ...ids.slice(2, -1), id, id, id]);
    expect(() => expandImageTokens(ids, id, [2])).toThrow(/2 image tokens and 1 pictures/);
  });
});
