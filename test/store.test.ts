/** @file Stores and ledgers: rows at random, what a killed writer leaves, damage, and addresses. */

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import {
  contentKey,
  hashFolder,
  Ledger,
  Store,
  type StorePlan,
  StoreWriter,
  writeShard,
} from "../src/data/index.js";
import { type DiffsightError, Tensor } from "../src/tensor/index.js";
import { modelPath } from "../src/weights/index.js";

const root = mkdtempSync(path.join(tmpdir(), "diffsight-store-"));
afterAll(() => rmSync(root, { recursive: true }));

let folders = 0;
const folder = () => path.join(root, String(folders++));

const plan = {
  key: "k",
  rows: 25,
  shardRows: 8,
  columns: { picture: { dtype: "u8", dims: [2, 3] }, number: { dtype: "f32", dims: [] } },
  lines: true,
} as const satisfies StorePlan;

const rowsOf = (from: number, to: number) => {
  const rows = Array.from({ length: to - from }, (_, i) => from + i);
  return {
    columns: {
      picture: new Tensor(
        "u8",
        [rows.length, 2, 3],
        Uint8Array.from(rows.flatMap((row) => [row, 1, 2, 3, 4, row])),
      ),
      number: Tensor.f32(
        [rows.length],
        rows.map((row) => row / 2),
      ),
    },
    lines: rows.map((row) => ({ row, text: `zeile ${"ü".repeat(row % 5)}\n` })),
  };
};

/** Writes the shards that are missing, at most so many. */
async function write(place: string, most = 100): Promise<StoreWriter> {
  const writer = StoreWriter.open(place, plan);
  for (const range of writer.missing.slice(0, most)) {
    writer.record(await writeShard(place, range, plan, rowsOf(range.from, range.to)));
  }
  return writer;
}

/** How many files of a folder this process has open. */
const openFiles = (place: string): number =>
  readdirSync("/proc/self/fd").filter((file) => {
    const at = path.join("/proc/self/fd", file);
    return existsSync(at) && readlinkSync(at).startsWith(place);
  }).length;

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return "done";
  } catch (error) {
    return (error as DiffsightError).code;
  }
};

describe("a store", () => {
  it.skipIf(!existsSync("/proc/self/fd"))("of many files has few of them open at once", async () => {
    const many = { ...plan, rows: 300, shardRows: 1 };
    const place = folder();
    const writer = StoreWriter.open(place, many);
    for (const range of writer.missing)
      writer.record(await writeShard(place, range, many, rowsOf(range.from, range.to)));
    const store = await writer.finish();
    const all = Array.from({ length: 300 }, (_, i) => (i * 7) % 300);
    const before = openFiles(place);
    for (let twice = 0; twice < 2; twice++) {
      expect([...store.gather("number", all).data]).toEqual(all.map((row) => row / 2));
      for (const row of all) expect(store.line(row)).toMatchObject({ row });
    }
    expect(before).toBe(0);
    expect(openFiles(place)).toBe(64);
    store.close();
    expect(openFiles(place)).toBe(0);
    expect(store.line(3)).toMatchObject({ row: 3 }); // opened anew
    store.close();
  });

  it("gives any rows in any order", async () => {
    const store = await (await write(folder())).finish();
    await store.verify();
    fc.assert(
      fc.property(fc.array(fc.nat(24), { minLength: 1, maxLength: 12 }), (rows) => {
        expect([...store.gather("number", rows).data]).toEqual(rows.map((row) => row / 2));
        expect([...store.row("picture", rows[0]!).data]).toEqual([rows[0], 1, 2, 3, 4, rows[0]]);
        expect(store.line(rows[0]!)).toEqual(rowsOf(rows[0]!, rows[0]! + 1).lines[0]);
      }),
    );
    expect(codeOf(() => store.row("number", 25))).toBe("ROW_RANGE");
    expect(codeOf(() => store.row("sound", 0))).toBe("COLUMN_MISSING");
    store.close();
  });

  it("is gone on with where its writer was killed", async () => {
    const place = folder();
    (await write(place, 2)).close();
    expect(codeOf(() => Store.open(place))).toBe("STORE_MISSING");
    // A shard that lost its file, and half a line of the ledger.
    rmSync(path.join(place, "shard-00001.jsonl"));
    writeFileSync(
      path.join(place, "ledger.jsonl"),
      `${readFileSync(path.join(place, "ledger.jsonl"))}{"shard":2,"fi`,
    );
    const writer = StoreWriter.open(place, plan);
    expect(writer.missing.map(({ shard }) => shard)).toEqual([1, 2, 3]);
    expect(writer.finishedRows).toBe(8);
    writer.close();
    const store = await (await write(place)).finish();
    expect(store.row("number", 24).data[0]).toBe(12);
    store.close();
  });

  it("is not mixed with another, and tells damage", async () => {
    const place = folder();
    (await write(place, 1)).close();
    expect(codeOf(() => StoreWriter.open(place, { ...plan, key: "other" }))).toBe("STORE_OTHER");
    const store = await (await write(place)).finish();
    const shard = path.join(place, "shard-00002.safetensors");
    const bytes = readFileSync(shard);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(shard, bytes);
    await expect(store.verify()).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    store.close();
    truncateSync(shard, bytes.length - 1);
    expect(codeOf(() => Store.open(place))).toBe("STORE_CORRUPT");
    writeFileSync(path.join(place, "store.json"), "{");
    expect(codeOf(() => Store.open(place))).toBe("STORE_CORRUPT");
  });
});

it("a ledger cut off anywhere keeps its whole lines", () => {
  const file = path.join(root, "ledger.jsonl");
  const entries = Array.from({ length: 6 }, (_, i) => ({ i, text: "é\n".repeat(i) }));
  const first = Ledger.open(file);
  for (const entry of entries) first.append(entry);
  first.close();
  const whole = readFileSync(file);
  for (let length = 0; length <= whole.length; length++) {
    writeFileSync(file, whole.subarray(0, length));
    const ledger = Ledger.open(file);
    const lines = whole.subarray(0, length).filter((byte) => byte === 10).length;
    expect(ledger.entries).toEqual(entries.slice(0, lines));
    ledger.append({ again: true });
    ledger.close();
    expect(readFileSync(file, "utf8").split("\n")).toHaveLength(lines + 2);
  }
  writeFileSync(file, "no json\n");
  expect(codeOf(() => Ledger.open(file))).toBe("LEDGER_CORRUPT");
});

it("an address depends on values, not on the order of fields", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const turned = Object.fromEntries(Object.entries(value).reverse());
      expect(contentKey(turned)).toBe(contentKey(value));
      expect(contentKey({ value, more: 1 })).not.toBe(contentKey({ value, more: 2 }));
    }),
  );
});

it("a model has one address, whatever names it", async () => {
  expect(await hashFolder("embedded:sd")).toBe(await hashFolder(modelPath("embedded:sd")));
  expect(await hashFolder("embedded:sd")).not.toBe(await hashFolder("embedded:clip"));
});

it("a model's address depends on its templates and tokenizers too, not on its card", async () => {
  const place = folder();
  mkdirSync(place);
  const address = async (file: string, content: string) => {
    writeFileSync(path.join(place, file), content);
    return hashFolder(place);
  };
  const addresses = [
    await address("config.json", "{}"),
    await address("chat_template.jinja", "{{ a }}"),
    await address("chat_template.jinja", "{{ b }}!"),
    await address("tokenizer.model", "pieces"),
  ];
  expect(new Set(addresses).size).toBe(4);
  expect(await address("README.md", "a card")).toBe(addresses.at(-1));
});

it("a part of a model that comes along has a name of its own; there is nothing outside of them", () => {
  expect(readFileSync(path.join(modelPath("embedded:vlm/llm"), "config.json"), "utf8")).toContain(
    "LlamaForCausalLM",
  );
  for (const name of ["vlm/nothing", "vlm/../sd", "..", "../micro/sd", ""])
    expect(codeOf(() => modelPath(`embedded:${name}`))).toBe("MODEL_MISSING");
});
