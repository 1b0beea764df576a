/** @file Torch's pickles: what torch wrote comes out as torch reads it; what is hostile runs nothing and breaks nothing. */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DiffsightError, failure } from "../src/tensor/index.js";
import { checkpointOf, openCheckpoint, readWeightFile, type WeightFile } from "../src/weights/index.js";
import { goldenPath } from "./golden.js";

/** A file in memory. */
function memory(bytes: Uint8Array): WeightFile {
  return {
    location: "memory.bin",
    size: bytes.length,
    async read(offset, length) {
      if (offset + length > bytes.length) throw failure("FILE_CORRUPT", "memory.bin ends too early.");
      return bytes.slice(offset, offset + length);
    },
  };
}

const read = async (bytes: Uint8Array) => checkpointOf("memory.bin", [await readWeightFile(memory(bytes))]);

/** Strings are Latin-1: a character, a byte. */
const concat = (...parts: (Uint8Array | number[] | string)[]): Uint8Array =>
  Uint8Array.from(
    parts.flatMap((part) =>
      typeof part === "string" ? Array.from(part, (char) => char.charCodeAt(0)) : [...part],
    ),
  );

const u16 = (value: number): number[] => [value & 255, value >>> 8];
const u32 = (value: number): number[] => [...u16(value & 0xffff), ...u16(value >>> 16)];
const u64 = (value: number): number[] => [...u32(value), ...u32(Math.floor(value / 2 ** 32))];

/** A zip archive, nothing compressed; optionally with 64-bit records throughout. */
function zip(members: Record<string, Uint8Array>, { wide = false, compression = 0 } = {}): Uint8Array {
  const locals: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let at = 0;
  for (const [name, bytes] of Object.entries(members)) {
    const sizes = wide
      ? [...u32(0xffffffff), ...u32(0xffffffff)]
      : [...u32(bytes.length), ...u32(bytes.length)];
    const extra = wide ? [...u16(1), ...u16(24), ...u64(bytes.length), ...u64(bytes.length), ...u64(at)] : [];
    const common = [
      ...u16(20),
      ...u16(0),
      ...u16(compression),
      ...u32(0),
      ...u32(0),
      ...sizes,
      ...u16(name.length),
    ];
    const local = concat("PK\x03\x04", common, u16(0), name, bytes);
    locals.push(local);
    const place = [...u16(0), ...u16(0), ...u16(0), ...u32(0), ...u32(wide ? 0xffffffff : at)];
    central.push(concat("PK\x01\x02", u16(20), common, u16(extra.length), place, name, extra));
    at += local.length;
  }
  const directory = concat(...central);
  const count = central.length;
  const end64 = wide
    ? concat(
        ...["PK\x06\x06", u64(44), u16(45), u16(45), u32(0), u32(0), u64(count), u64(count)],
        ...[u64(directory.length), u64(at), "PK\x06\x07", u32(0), u64(at + directory.length), u32(1)],
      )
    : [];
  const ends = wide ? [...u16(0xffff), ...u16(0xffff), ...u32(0xffffffff), ...u32(0xffffffff)] : [];
  const plain = [...u16(count), ...u16(count), ...u32(directory.length), ...u32(at)];
  return concat(...locals, directory, end64, "PK\x05\x06", u16(0), u16(0), wide ? ends : plain, u16(0));
}

// A small assembler of pickles.
const text = (value: string): Uint8Array =>
  concat([0x58], u32(new TextEncoder().encode(value).length), value);
const int = (value: number): number[] => [0x4a, ...u32(value)];
const tuple = (...items: (Uint8Array | number[])[]): Uint8Array => concat("(", ...items, "t");
const name = (module: string, attribute: string): Uint8Array => concat(`c${module}\n${attribute}\n`);
const storage = (key: string, size: number, type = "FloatStorage"): Uint8Array =>
  concat(tuple(text("storage"), name("torch", type), text(key), text("cpu"), int(size)), "Q");
const tensor = (stored: Uint8Array, offset: number, dims: number[], strides: number[]): Uint8Array =>
  concat(
    name("torch._utils", "_rebuild_tensor_v2"),
    tuple(stored, int(offset), tuple(...dims.map(int)), tuple(...strides.map(int)), [0x89], concat("}")),
    "R",
  );
const dictionary = (items: Record<string, Uint8Array>): Uint8Array =>
  concat("}(", ...Object.entries(items).flatMap(([key, value]) => [text(key), value]), "u");
const pickle = (...parts: (Uint8Array | string | number[])[]): Uint8Array => concat([0x80, 2], ...parts, ".");

const numbers = new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer);
/** An archive of one pickle, with six numbers 0 ... 5 in its storage "0". */
const archive = (root: Uint8Array, more: Record<string, Uint8Array> = {}, options = {}): Uint8Array =>
  zip({ "x/data.pkl": pickle(root), "x/data/0": numbers, ...more }, options);
const one = (dims: number[], strides: number[], offset = 0, size = 6): Uint8Array =>
  archive(dictionary({ w: tensor(storage("0", size), offset, dims, strides) }));

describe("the projectors that torch wrote", () => {
  it.each(["fp32", "bf16", "views"])("mm_projector-%s equals its safetensors", async (folder) => {
    const torch = await openCheckpoint(goldenPath("llava", `mm_projector-${folder}`, "mm_projector.bin"));
    const plain = await openCheckpoint(
      goldenPath("llava", `mm_projector-${folder}`, "mm_projector.safetensors"),
    );
    expect([...torch.entries.keys()].sort()).toEqual([...plain.entries.keys()].sort());
    for (const key of plain.entries.keys()) expect(await torch.read(key)).toEqual(await plain.read(key));
  });

  it("mm_projector-fp16-legacy, of before torch 1.6, holds the rounded numbers of mm_projector-fp32", async () => {
    const torch = await openCheckpoint(goldenPath("llava", "mm_projector-fp16-legacy", "mm_projector.bin"));
    const plain = await openCheckpoint(goldenPath("llava", "mm_projector-fp32", "mm_projector.safetensors"));
    for (const key of plain.entries.keys()) {
      const [legacy, full] = [await torch.read(key), await plain.read(key)];
      expect(legacy.dtype).toBe("f16");
      expect(legacy).toEqual(full.to("f16"));
    }
  });

  it("lie in the file as they are: no copy unless a view is out of order", async () => {
    const { entries, files } = await openCheckpoint(
      goldenPath("llava", "mm_projector-views", "mm_projector.bin"),
    );
    const inPlace = [...entries].filter(([, { storage }]) => "file" in storage && storage.file === files[0]);
    expect(inPlace.map(([key]) => key).sort()).toEqual(["flag", "ids", "model.mm_projector.0.bias", "step"]);
  });
});

describe("a state dict", () => {
  it("is read through views, offsets, expansions and empty tensors", async () => {
    const numbersOf = async (bytes: Uint8Array) => [
      ...((await (await read(bytes)).read("w")).data as Float32Array),
    ];
    expect(await numbersOf(one([2, 3], [3, 1]))).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await numbersOf(one([3, 2], [1, 3]))).toEqual([0, 3, 1, 4, 2, 5]);
    expect(await numbersOf(one([2], [2], 1))).toEqual([1, 3]);
    expect(await numbersOf(one([2, 2], [0, 1], 4))).toEqual([4, 5, 4, 5]);
    expect(await numbersOf(one([1, 2], [77, 1], 4))).toEqual([4, 5]);
    expect(await numbersOf(one([0, 9], [9, 1]))).toEqual([]);
    expect(await numbersOf(one([], [], 5))).toEqual([5]);
  });

  it("may be nested in a training checkpoint, and be made of parameters", async () => {
    const parameter = concat(
      name("torch._utils", "_rebuild_parameter"),
      tuple(tensor(storage("0", 6), 0, [6], [1]), [0x88], concat("}")),
      "R",
    );
    const ordered = concat(name("collections", "OrderedDict"), ")R");
    const state = concat(ordered, "(", text("w"), parameter, "u", "}", text("_metadata"), ordered, "sb");
    const { entries } = await read(archive(dictionary({ epoch: concat(int(3)), state_dict: state })));
    expect([...entries.keys()]).toEqual(["w"]);
  });

  it("may lie in an archive of over 4 GB, whose records are wider", async () => {
    const wide = archive(dictionary({ w: tensor(storage("0", 6), 2, [2], [1]) }), {}, { wide: true });
    expect([...((await (await read(wide)).read("w")).data as Float32Array)]).toEqual([2, 3]);
  });
});

describe("what is refused", () => {
  const evil = concat(name("os", "system"), tuple(text("touch /tmp/x")), "R");
  const cases: [string, Uint8Array, code: string, RegExp][] = [
    ["a call of os.system", archive(evil), "PICKLE_REFUSED", /"os\.system"/],
    ["a call hidden in a dictionary", archive(dictionary({ a: evil })), "PICKLE_REFUSED", /os\.system/],
    [
      "a name made on the stack",
      archive(concat(text("os"), text("system"), [0x93])),
      "PICKLE_REFUSED",
      /os\.system/,
    ],
    ["a whole module", archive(name("torch.nn.modules.linear", "Linear")), "PICKLE_REFUSED", /Linear/],
    [
      "an unknown storage",
      archive(storage("0", 6, "ComplexFloatStorage")),
      "PICKLE_REFUSED",
      /ComplexFloatStorage/,
    ],
    [
      "an object's constructor",
      archive(concat(name("torch", "Size"), ")", [0x81])),
      "PICKLE_REFUSED",
      /0x81/,
    ],
    ["protocol 0", zip({ "x/data.pkl": concat("(dp0\n.") }), "PICKLE_REFUSED", /0x64/],
    ["protocol 9", zip({ "x/data.pkl": concat([0x80, 9], "}.") }), "PICKLE_REFUSED", /protocol is 9/],
    [
      "big-endian numbers",
      archive(dictionary({}), { "x/byteorder": concat("big") }),
      "PICKLE_REFUSED",
      /big-endian/,
    ],
    [
      "TorchScript",
      archive(dictionary({}), { "x/constants.pkl": pickle("}") }),
      "PICKLE_REFUSED",
      /TorchScript/,
    ],
    ["a huge whole number", archive(concat([0x8b], u32(1 << 20))), "PICKLE_REFUSED", /1048576 bytes/],
    ["millions of objects", archive(concat("}".repeat(2_000_001))), "PICKLE_REFUSED", /over 2000000 objects/],
    ["no dictionary", archive(concat("]")), "CHECKPOINT_EMPTY", /no dictionary/],
    ["no tensors", archive(dictionary({ lr: concat(int(1)) })), "CHECKPOINT_EMPTY", /its keys are "lr"/],
    ["a tensor beyond its storage", one([7], [1]), "FILE_CORRUPT", /within its storage of 6/],
    ["a stride beyond its storage", one([2, 2], [5, 1]), "FILE_CORRUPT", /within its storage/],
    ["an offset beyond its storage", one([1], [1], 6), "FILE_CORRUPT", /within its storage/],
    ["a negative stride", one([2], [-1], 3), "FILE_CORRUPT", /not described/],
    ["a storage larger than its member", one([7], [1], 0, 7), "FILE_CORRUPT", /24 bytes, not 28/],
    ["a view that would fill the memory", one([2 ** 30, 2 ** 20], [0, 0]), "PICKLE_REFUSED", /views span/],
    [
      "a product beyond all numbers",
      one([2 ** 30, 2 ** 30, 2 ** 30], [0, 0, 0]),
      "FILE_CORRUPT",
      /within its storage/,
    ],
    [
      "one storage of two types",
      archive(concat(storage("0", 6), storage("0", 12, "HalfStorage"), [0x86])),
      "FILE_CORRUPT",
      /two ways/,
    ],
    [
      "a missing storage",
      archive(dictionary({ w: tensor(storage("1", 6), 0, [6], [1]) })),
      "FILE_CORRUPT",
      /no bytes/,
    ],
    ["an empty stack", archive(concat("000")), "FILE_CORRUPT", /runs empty/],
    ["a missing mark", archive(concat("t")), "FILE_CORRUPT", /mark/],
    ["an unknown memory", archive(concat([0x68, 7])), "FILE_CORRUPT", /no object 7/],
    ["text that is no UTF-8", archive(concat([0x8c, 1, 0xff])), "FILE_CORRUPT", /UTF-8/],
    [
      "a text longer than the pickle",
      archive(concat([0x8d], u64(2 ** 60))),
      "FILE_CORRUPT",
      /ends in the middle/,
    ],
    ["a compressed archive", archive(dictionary({}), {}, { compression: 8 }), "FILE_CORRUPT", /compressed/],
    ["an archive without a pickle", zip({ "x/data/0": numbers }), "FILE_CORRUPT", /no data\.pkl/],
    ["an archive cut short", one([6], [1]).subarray(0, 200), "FILE_CORRUPT", /no directory/],
    [
      "a pickle that torch did not write",
      pickle(dictionary({ epoch: concat(int(1)) })),
      "FILE_CORRUPT",
      /ends|not one/,
    ],
    [
      "a git-lfs pointer",
      concat("version https://git-lfs.github.com/spec/v1\noid sha256:0"),
      "FILE_CORRUPT",
      /git lfs pull/,
    ],
  ];
  it.each(cases)("%s", async (_, bytes, code, message) => {
    const error = await read(bytes).catch((error: unknown) => error);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    expect((error as Error).message).toMatch(/^memory\.bin: /);
  });

  it("a legacy file cut short, or of another machine", async () => {
    const bytes = readFileSync(goldenPath("llava", "mm_projector-fp16-legacy", "mm_projector.bin"));
    await expect(read(bytes.subarray(0, bytes.length - 1))).rejects.toThrow(/before its numbers do/);
    await expect(read(bytes.subarray(0, 400))).rejects.toThrow(/ends in the middle/);
    const big = Uint8Array.from(bytes);
    big[big.indexOf(0x88)] = 0x89; // little_endian: False
    await expect(read(big)).rejects.toThrow(/big-endian/);
  });

  it("a pickle that asks for the same long list again and again is stopped", async () => {
    const long = concat("(", ")".repeat(100_000), "tq\x00");
    const again = concat(name("collections", "OrderedDict"), "q\x010");
    const loops = concat(...Array.from({ length: 1000 }, () => concat("h\x01h\x00\x85R")));
    const started = performance.now();
    await expect(read(archive(concat(long, again, loops)))).rejects.toThrow(/over 2000000 objects/);
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

describe("any bytes at all", () => {
  const golden = (folder: string): Uint8Array =>
    readFileSync(goldenPath("llava", `mm_projector-${folder}`, "mm_projector.bin"));
  const sources = [
    golden("views"),
    golden("fp16-legacy"),
    one([3, 2], [1, 3]),
    archive(dictionary({}), {}, { wide: true }),
  ];
  const damaged = fc
    .record({
      source: fc.constantFrom(...sources),
      changes: fc.array(fc.tuple(fc.nat(1 << 16), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      cut: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(600) }),
    })
    .map(({ source, changes, cut }) => {
      const bytes = Uint8Array.from(source.subarray(0, source.length - Math.min(cut, source.length)));
      for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
      return bytes;
    });
  const pieces = fc.oneof(
    fc.constantFrom<Uint8Array | number[] | string>(
      ...[
        "(",
        "t",
        "}",
        "]",
        ")",
        "u",
        "s",
        "e",
        "a",
        "R",
        "Q",
        "b",
        "N",
        "0",
        "1",
        "2",
        "h\x00",
        "q\x00",
        "\x94",
      ],
      ...[[0x85], [0x86], [0x87], [0x93], int(0), int(6), int(-1), text("w"), text("storage"), text("0")],
      name("torch", "FloatStorage"),
      name("torch", "Size"),
      name("collections", "OrderedDict"),
      name("torch._utils", "_rebuild_tensor_v2"),
      name("torch._utils", "_rebuild_parameter"),
      storage("0", 6),
      tensor(storage("0", 6), 0, [2], [3]),
      dictionary({ w: tensor(storage("0", 6), 0, [2], [3]) }),
    ),
    fc.uint8Array({ maxLength: 3 }),
  );
  const programs = fc.array(pieces, { maxLength: 25 }).map((parts) => archive(concat(...parts)));

  it("either hold tensors or raise a DiffsightError (12,000 cases)", async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(damaged, programs), async (bytes) => {
        try {
          const checkpoint = await read(bytes);
          for (const [key, { dims }] of checkpoint.entries)
            expect((await checkpoint.read(key)).dims).toEqual(dims);
        } catch (error) {
          expect(error).toBeInstanceOf(DiffsightError);
        }
      }),
      { numRuns: 12_000 },
    );
  });
});
