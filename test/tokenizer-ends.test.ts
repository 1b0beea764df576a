/** @file What begins and ends a text, by a tokenizer's files: as transformers has it. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readTokenizer } from "../src/text/index.js";
import { goldenPath } from "./golden.js";

const json = JSON.parse(readFileSync(goldenPath("pipeline-llava", "tokenizer.json"), "utf8"));
const token = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
const special = (id: string, number: number) => [id, { id, ids: [number], tokens: [id] }];
const special_tokens = Object.fromEntries([special("<s>", 1), special("</s>", 2)]);
const text = { Sequence: { id: "A", type_id: 0 } };
const template = (single: object[]) => ({ type: "TemplateProcessing", single, pair: single, special_tokens });
const processors = {
  none: null,
  begins: template([token("<s>"), text]),
  both: template([token("<s>"), text, token("</s>")]),
  bytes: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  roberta: {
    type: "RobertaProcessing",
    cls: ["<s>", 1],
    sep: ["</s>", 2],
    trim_offsets: true,
    add_prefix_space: false,
  },
};

async function endsOf(processor: keyof typeof processors, config: object): Promise<[boolean, boolean]> {
  const tokenizer = await readTokenizer({
    "tokenizer.json": JSON.stringify({ ...json, post_processor: processors[processor] }),
    "tokenizer_config.json": JSON.stringify({ bos_token: "<s>", eos_token: "</s>", ...config }),
  });
  const ids = tokenizer.encode("hello");
  return [ids[0] === 1, ids.at(-1) === 2];
}

const llama = (add_bos_token?: boolean, add_eos_token?: boolean) => ({
  tokenizer_class: "LlamaTokenizer",
  ...(add_bos_token !== undefined && { add_bos_token }),
  ...(add_eos_token !== undefined && { add_eos_token }),
});

describe("what begins and ends a text", () => {
  it.each([
    ["Vicuna's", "begins", llama(true, false), [true, false]],
    ["of one that is told so", "begins", llama(true, true), [true, true]],
    ["of one that is told otherwise", "both", llama(false, false), [false, false]],
    ["on the side that nothing is said of", "both", llama(undefined, false), [true, false]],
    ["on the other side", "begins", llama(false), [false, false]],
    ["of one without a processor", "none", llama(true), [true, false]],
    [
      "of the other class's name",
      "begins",
      { ...llama(false), tokenizer_class: "LlamaTokenizerFast" },
      [false, false],
    ],
  ] as const)("are a LLaMA's flags', %s", async (_, processor, config, ends) => {
    expect(await endsOf(processor, config)).toEqual(ends);
  });

  it.each([
    [
      "Llama 3's",
      "begins",
      { ...llama(false, true), tokenizer_class: "PreTrainedTokenizerFast" },
      [true, false],
    ],
    ["Qwen2's", "bytes", { ...llama(true), tokenizer_class: "Qwen2Tokenizer" }, [false, false]],
    ["without a class", "both", { add_bos_token: false, add_eos_token: false }, [true, true]],
    ["RoBERTa's", "roberta", {}, [true, true]],
  ] as const)("are else the processor's: %s", async (_, processor, config, ends) => {
    expect(await endsOf(processor, config)).toEqual(ends);
  });

  it("are a LLaMA's by its class where no file names them", async () => {
    const files = (tokenizer_class: string) => ({
      "tokenizer.json": JSON.stringify(json),
      "tokenizer_config.json": JSON.stringify({ tokenizer_class }),
    });
    const { start, end, unknown } = await readTokenizer(files("LlamaTokenizer"));
    expect([start, end, unknown]).toEqual([1, 2, 0]);
    expect((await readTokenizer(files("PreTrainedTokenizerFast"))).start).toBeUndefined();
  });
});
