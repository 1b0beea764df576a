/** @file Sets of conversations: LLaVA's JSON, what is wrong with it, samples, batches and their order. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { parseRow, turnsOf } from "../src/data/conversations-row.js";
import { scanBytes } from "../src/data/conversations-scan.js";
import {
  type ConversationSample,
  ConversationSamples,
  ConversationSet,
  type ConversationSetOptions,
  collate,
  modalityGroupedOrder,
} from "../src/data/index.js";
import { blankImage, encodePng } from "../src/image/index.js";
import { DiffsightError, TorchGenerator } from "../src/tensor/index.js";
import { chatTemplate, readTokenizer, wordVocabulary } from "../src/text/index.js";
import { producer as conversations } from "../src/training/producers/conversations.js";
import { goldenPath } from "./golden.js";

const folder = mkdtempSync(path.join(tmpdir(), "diffsight-conversations-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
writeFileSync(path.join(folder, "a.png"), encodePng(blankImage(4, 3)));
writeFileSync(path.join(folder, "broken.png"), encodePng(blankImage(4, 3)).subarray(0, 40));

let files = 0;
function write(content: string): string {
  const file = path.join(folder, `set-${files++}.json`);
  writeFileSync(file, content);
  return file;
}

const said = (...values: string[]) =>
  values.map((value, i) => ({ from: i % 2 === 0 ? "human" : "gpt", value }));
const good = { id: "7", image: "a.png", conversations: said("What is <image>this?", "a dog", "red?", "no") };
const text = { conversations: said("hi", "hello there") };

const open = (rows: unknown, options: ConversationSetOptions = {}) =>
  ConversationSet.open(write(typeof rows === "string" ? rows : JSON.stringify(rows)), {
    images: folder,
    ...options,
  });

const tokenizer = await readTokenizer(wordVocabulary(["dog", "what", "is", "this?"]));

describe("a set of conversations", () => {
  it.each([
    ["a list", JSON.stringify([good, text], null, 2)],
    ["lines", `${JSON.stringify(good)}\n${JSON.stringify(text)}\r\n`],
    ["a list with a byte order mark", `\uFEFF${JSON.stringify([good, text])}`],
  ])("is read from %s", async (_, content) => {
    using set = await open(content);
    expect(set.length).toBe(2);
    expect(set.get(0)).toEqual({
      row: 0,
      id: "7",
      images: [path.join(folder, "a.png")],
      turns: [
        { role: "user", text: "<image>\nWhat is this?" },
        { role: "assistant", text: "a dog" },
        { role: "user", text: "red?" },
        { role: "assistant", text: "no" },
      ],
    });
    expect(set.get(1)).toMatchObject({ row: 1, id: undefined, images: [] });
    expect([...set.lengths]).toEqual([7, -3]);
    expect((await set.images(0))![0]).toMatchObject({ width: 4, height: 3 });
  });

  it("leaves out what is said before the first question and after the last answer", async () => {
    const conversations = [{ from: "gpt", value: "welcome" }, ...said("a", "b", "c")];
    using set = await open([{ conversations }]);
    expect(set.get(0).turns.map(({ text }) => text)).toEqual(["a", "b"]);
  });

  it.each<[string, unknown, RegExp]>([
    [
      "another speaker",
      { conversations: [{ from: "bot", value: "" }] },
      /row 1: conversations\[0\]\.from: .*"human"/,
    ],
    ["no text", { conversations: [{ from: "human" }] }, /conversations\[0\]\.value: .*expected string/],
    ["no turns", { id: 3 }, /conversations: .*expected array/],
    ["no answer", { conversations: said("a") }, /no question with an answer/],
    [
      "two questions",
      { conversations: [...said("a"), ...said("b", "c")] },
      /conversations\[1\]\.from: expected "gpt"/,
    ],
    ["a missing image", { ...good, image: "b.png" }, /row 1 \(id "7"\): image: there is no file .*b\.png/],
    ["images under two names", { ...good, images: ["a.png"] }, /both `image` and `images`/],
    [
      "an image without its mark",
      { ...good, conversations: said("a", "b") },
      /1 images and "<image>" 0 times/,
    ],
  ])("names a row with %s, or leaves it out", async (_, row, error) => {
    const rows = [text, row, text];
    await expect(open(rows)).rejects.toThrow(
      error instanceof RegExp ? new RegExp(error.source.replace("row 1 .*", "row 1.*")) : error,
    );
    using set = await open(rows, { faulty: "skip" });
    expect(set.length).toBe(2);
    expect(set.get(1).row).toBe(2);
    expect(set.skipped).toMatchObject([{ row: 1 }]);
  });

  it("reads pictures under `images` too", async () => {
    const { image, ...row } = good;
    using set = await open([{ ...row, images: [image] }]);
    expect(set.get(0).images).toEqual([path.join(folder, "a.png")]);
    expect(set.get(0).turns[0]!.text).toBe("<image>\nWhat is this?");
    expect([...set.lengths]).toEqual([7]);
    expect(set.unpictured).toEqual([]);
  });

  it("knows rows that say where a picture is and name none", async () => {
    const { image: _, ...row } = good;
    using set = await open([text, row, good]);
    expect(set.unpictured).toEqual([1]);
    expect(set.get(1).turns[0]!.text).toBe("What is <image>this?");
  });

  it("is told of what looks like a picture without a name, when a store is made", async () => {
    const { image: _, ...row } = good;
    const file = write(JSON.stringify([text, row, good, row]));
    const config = conversations.config.parse({ file, images: folder });
    const production = await conversations.open({ config, data: {}, models: {} });
    await production.release?.();
    expect(production.warnings).toEqual([
      expect.stringMatching(/^Rows 1, 3 of .*"<image>", but no picture is named .* learnt as text/),
    ]);
  });

  it("names the first of many faults", async () => {
    await expect(open([text, ...new Array(9).fill({})])).rejects.toThrow(/9 rows .*row 1.*row 5.*and 4 more/);
  });

  it.each([
    ["", /it is empty/],
    ["[", /its list has no end after 0 rows/],
    [`[${JSON.stringify(text)}`, /no end after 1 rows/],
    [`[${JSON.stringify(text)}, {"conv`, /ends in the middle of row 1/],
    [`${JSON.stringify(text)} x`, /before row 1, is "x"/],
    [`[] {}`, /something follows the list/],
    ["[]", /no row that can be used/],
    ["[1]", /byte 1, before row 0, is "1"/],
  ])("that is no JSON is an error: %j", async (content, error) => {
    await expect(open(content)).rejects.toThrow(error);
  });

  it("names a picture that cannot be decoded, or leaves its row out", async () => {
    const rows = [text, { ...good, image: "broken.png" }];
    using strict = await open(rows);
    await expect(strict.images(1)).rejects.toThrow(/row 1 \(id "7"\).*broken\.png/);
    using lenient = await open(rows, { faulty: "skip" });
    expect(await lenient.images(1)).toBeUndefined();
    expect(await lenient.images(1)).toBeUndefined();
    expect(lenient.skipped).toMatchObject([{ row: 1, id: "7" }]);
  });

  it("reads rows across the parts that a large file comes in", async () => {
    const row = JSON.stringify({ conversations: said("question", "answer ".repeat(3000)) });
    using set = await open(`[${new Array(200).fill(row).join(",\n")}]`);
    expect(set.length).toBe(200);
    expect(set.get(199).turns[1]!.text).toHaveLength(21_000);
  });

  it("finds the rows of any JSON, however its bytes are cut", () => {
    const json = fc.array(fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 3 }), {
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(json, fc.boolean(), fc.integer({ min: 1, max: 9 }), (rows, asLines, size) => {
        const text = asLines
          ? rows.map((row) => JSON.stringify(row)).join("\n")
          : JSON.stringify(rows, null, 1);
        const bytes = new TextEncoder().encode(text);
        const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
          bytes.subarray(i * size, (i + 1) * size),
        );
        const found = [...scanBytes(chunks, "any.json")];
        expect(found.map(({ bytes }) => JSON.parse(new TextDecoder().decode(bytes)))).toEqual(
          rows.map((row) => JSON.parse(JSON.stringify(row))),
        );
        for (const { offset, bytes: row } of found)
          expect(bytes.subarray(offset, offset + row.length)).toEqual(Uint8Array.from(row));
      }),
      { numRuns: 500 },
    );
  });

  it("never does anything but fail with a reason, or work", () => {
    const content = new TextEncoder().encode(JSON.stringify([good, text]));
    const sign = fc.oneof(fc.constantFrom(...new TextEncoder().encode('{}[]",:\\ x1')), fc.nat(255));
    const change = fc.tuple(fc.nat(content.length - 1), sign);
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = Uint8Array.from(content);
        for (const [at, value] of changes) bytes[at] = value;
        try {
          for (const row of scanBytes([bytes], "fuzzed.json")) {
            const parsed = parseRow(row.bytes);
            if (typeof parsed !== "string") turnsOf(parsed);
          }
        } catch (error) {
          if (!(error instanceof DiffsightError)) throw error;
        }
      }),
      { numRuns: 10_000 },
    );
  });
});

describe("samples of conversations", () => {
  const rows = [good, text, { conversations: said("what is </s>?", "b") }];
  const template = chatTemplate("v1");

  it("learn the answers, and tell what is masked and cut", async () => {
    using set = await open(rows);
    const samples = new ConversationSamples(set, tokenizer, template, { maxLength: 1000 });
    const [one, two, three] = [0, 1, 2, 0].map((i) => samples.get(i)) as [
      ConversationSample,
      ConversationSample,
      ConversationSample,
    ];
    const learnt = ({ ids, labels }: ConversationSample) =>
      tokenizer.decode(ids.filter((_, i) => labels[i]! >= 0));
    expect(one.ids.filter((id) => id === -200)).toHaveLength(1);
    expect([one, two, three].map(learnt)).toEqual(["a dog</s> no</s>", "hello there</s>", ""]);
    expect(samples.report).toEqual({
      made: 3,
      masked: [{ row: 2, reason: 'turn 0 spells "</s>", a mark of the template v1' }],
      cut: [],
    });
  });

  it("take the mark of a picture as text where there is no picture", async () => {
    using set = await open([{ conversations: said("what is an <image>?", "a tag") }]);
    const { ids, images } = new ConversationSamples(set, tokenizer, template).get(0);
    expect(ids).not.toContain(-200);
    expect(images).toEqual([]);
  });

  it("that cannot be labelled are an error on demand, which names the row", async () => {
    using set = await open(rows);
    const samples = new ConversationSamples(set, tokenizer, template, { onMismatch: "error" });
    expect(() => samples.get(2)).toThrow(/Row 2 of .*: turn 0 spells/);
  });

  it("lose the picture whose token is cut off", async () => {
    using set = await open(rows);
    const samples = new ConversationSamples(set, tokenizer, template, { maxLength: 5 });
    expect(samples.get(0)).toMatchObject({ images: [], ids: { length: 5 } });
    expect(samples.report.cut).toEqual([0]);
  });

  it("stand side by side, padded on the right", () => {
    const sample = (row: number, ids: number[], images: string[]): ConversationSample => ({
      row,
      ids,
      labels: ids,
      cut: 0,
      images,
    });
    expect(collate([sample(0, [1, 2, 3], ["a"]), sample(1, [1], [])], 0)).toEqual({
      ids: [
        [1, 2, 3],
        [1, 0, 0],
      ],
      labels: [
        [1, 2, 3],
        [1, -100, -100],
      ],
      attentionMask: [
        [1, 1, 1],
        [1, 0, 0],
      ],
      images: ["a"],
    });
  });
});

describe("the order of an epoch", () => {
  const { orders } = JSON.parse(readFileSync(goldenPath("conversations", "cases.json"), "utf8"));

  it.each(orders as { seed: number; lengths: number[]; batchSize: number; parts: number; order: number[] }[])(
    "is LLaVA's: seed $seed",
    ({ seed, lengths, order, ...options }) => {
      expect(modalityGroupedOrder(lengths, new TorchGenerator(seed), options)).toEqual(order);
    },
  );

  it("has every conversation once", () => {
    const lengths = fc.array(
      fc.integer({ min: -50, max: 50 }).filter((length) => length !== 0),
      { maxLength: 60 },
    );
    const few = fc.integer({ min: 1, max: 5 });
    fc.assert(
      fc.property(lengths, few, few, (lengths, batchSize, parts) => {
        fc.pre(lengths.length > 0);
        const order = modalityGroupedOrder(lengths, new TorchGenerator(1), { batchSize, parts });
        expect([...order].sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
      }),
    );
  });

  it("needs lengths that are not 0", () => {
    expect(() => modalityGroupedOrder([1, 0], new TorchGenerator(0), { batchSize: 1 })).toThrow(
      /must not be 0/,
    );
  });
});
