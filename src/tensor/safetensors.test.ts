/** @file Tests of the safetensors codec, hostile files among them. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allocate, type DType, dtypes } from "./dtype.js";
import { DiffsightError } from "./errors.js";
import { decodeSafetensors, encodeSafetensors, parseSafetensorsHeader } from "./safetensors.js";
import { count, Tensor } from "./tensor.js";

/** A file with this header and so many bytes of data. */
function file(header: string | Uint8Array, dataBytes = 0, headerLength?: bigint): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, headerLength ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

function parse(bytes: Uint8Array) {
  return parseSafetensorsHeader(bytes, bytes.length);
}

const entry = (dtype: string, shape: string, from: number | string, to: number | string) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${from},${to}]}`;

const anyTensor: fc.Arbitrary<Tensor> = fc
  .record({
    dtype: fc.constantFrom<DType>(...dtypes),
    dims: fc.array(fc.nat(3), { maxLength: 4 }),
    seed: fc.uint8Array({ minLength: 1, maxLength: 16 }),
  })
  .map(({ dtype, dims, seed }) => {
    const data = allocate(dtype, count(dims));
    const bytes = new Uint8Array(data.buffer);
    for (let i = 0; i < bytes.length; i++) bytes[i] = seed[i % seed.length]!;
    return new Tensor(dtype, dims, data);
  });

const bits = ({ dtype, dims, data }: Tensor) => ({
  dtype,
  dims: [...dims],
  bytes: Array.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
});

describe("safetensors", () => {
  it("come back as they were written, at any alignment", () => {
    const names = fc.string({ unit: "binary" }).filter((name) => name !== "__metadata__");
    const tensors = fc.uniqueArray(fc.tuple(names, anyTensor), { selector: ([name]) => name, maxLength: 6 });
    fc.assert(
      fc.property(tensors, fc.dictionary(fc.string(), fc.string()), fc.nat(7), (named, metadata, shift) => {
        const written = encodeSafetensors(named, metadata);
        const moved = new Uint8Array(written.length + shift).subarray(shift);
        moved.set(written);
        const read = decodeSafetensors(moved);
        expect(Object.entries(read.metadata).sort()).toEqual(Object.entries(metadata).sort());
        expect(read.tensors.size).toBe(named.length);
        for (const [name, tensor] of named) expect(bits(read.tensors.get(name)!)).toEqual(bits(tensor));
      }),
    );
  });

  it("are laid out like the reference writer's: wide types first, then names, aligned", () => {
    const bytes = encodeSafetensors({
      b: Tensor.f32([1], [2]),
      a: Tensor.f32([1], [1]),
      mask: new Tensor("bool", [3], Uint8Array.of(1, 0, 1)),
      ids: Tensor.i64([1], [7]),
      half: Tensor.f32([1], [1]).to("f16"),
    });
    const { headerLength, entries } = parse(bytes);
    expect(headerLength % 8).toBe(0);
    expect([...entries.keys()]).toEqual(["ids", "a", "b", "half", "mask"]);
    expect([...entries.values()].map(({ offset }) => offset - 8 - headerLength)).toEqual([0, 8, 12, 16, 18]);
    expect(bytes.subarray(-3)).toEqual(Uint8Array.of(1, 0, 1));
  });

  it("hold no two tensors of one name", () => {
    const tensor = Tensor.f32([0]);
    const twice: [string, Tensor][] = [
      ["a", tensor],
      ["a", tensor],
    ];
    expect(() => encodeSafetensors(twice)).toThrow(expect.objectContaining({ code: "TENSOR_NAME" }));
    expect(() => encodeSafetensors({ __metadata__: tensor })).toThrow(
      expect.objectContaining({ code: "TENSOR_NAME" }),
    );
  });

  it("accept what the format allows: any order in the header, white space, scalars, empty tensors", () => {
    const spaced = ` { "b" : ${entry("U8", "[ ]", 4, 5)} , "a":${entry("F32", "[1,1]", 0, 4)},"none":${entry("F16", "[0,9]", 4, 4)}}  `;
    const { entries } = parse(file(spaced, 5));
    expect(entries.get("b")).toEqual({ dtype: "u8", dims: [], offset: 8 + spaced.length + 4, length: 1 });
    expect(entries.get("none")).toMatchObject({ dims: [0, 9], length: 0 });
    expect(parse(file("{}")).entries.size).toBe(0);
  });

  const hostile: [string, Uint8Array, RegExp][] = [
    ["an empty file", new Uint8Array(0), /0 bytes/],
    ["a length of 2^63", file("{}", 0, 2n ** 63n), /9223372036854775808/],
    ["a length over 100 MB", file("{}", 0, 100_000_001n), /at most/],
    ["a length beyond the file", file("{}", 0, 3n), /file of 10/],
    ["bytes that are no UTF-8", file(Uint8Array.of(0x7b, 0xff, 0x7d)), /UTF-8/],
    ["a byte order mark", file("\ufeff{}"), /"\{" belongs/],
    ["an array", file("[]"), /"\{" belongs/],
    ["rubbish after the header", file("{}x"), /the end belongs/],
    ["a comma too many", file(`{"a":${entry("U8", "[1]", 0, 1)},}`, 1), /a string belongs/],
    ["deep nesting", file(`{"a":${"[".repeat(100_000)}`), /"\{" belongs/],
    ["a deep shape", file(`{"a":{"shape":${"[".repeat(100_000)}`), /whole number/],
    ["an unknown type", file(`{"a":${entry("F33", "[1]", 0, 4)}}`, 4), /unknown type "F33"/],
    ["a negative size", file(`{"a":${entry("U8", "[-1,-1]", 0, 1)}}`, 1), /whole number/],
    ["a fraction", file(`{"a":${entry("U8", "[1.0]", 0, 1)}}`, 1), /"]" belongs/],
    ["NaN", file(`{"a":${entry("U8", "[NaN]", 0, 1)}}`, 1), /whole number/],
    ["an exponent", file(`{"a":${entry("U8", "[1e0]", 0, 1)}}`, 1), /"]" belongs/],
    ["a size over 2^53", file(`{"a":${entry("U8", "[9007199254740993]", 0, 1)}}`, 1), /whole number/],
    ["a product over 2^53", file(`{"a":${entry("F32", "[4294967296,4294967296]", 0, 4)}}`, 4), /range/],
    ["a product of 2^64 = 0", file(`{"a":${entry("U8", "[4294967296,4294967296]", 0, 0)}}`), /range/],
    ["a shape that does not fit", file(`{"a":${entry("F32", "[2]", 0, 4)}}`, 4), /range/],
    ["a range that runs backwards", file(`{"a":${entry("U8", "[1]", 1, 0)}}`, 1), /range/],
    ["three offsets", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, 1), /range/],
    ["no type", file(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, 1), /lacks/],
    ["an unknown field", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}`, 1), /field "x"/],
    ["a field twice", file(`{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), /again/],
    [
      "overlapping tensors",
      file(`{"a":${entry("U8", "[2]", 0, 2)},"b":${entry("U8", "[2]", 1, 3)}}`, 3),
      /"b" overlaps/,
    ],
    [
      "the same bytes twice",
      file(`{"a":${entry("U8", "[2]", 0, 2)},"b":${entry("U8", "[2]", 0, 2)}}`, 2),
      /overlaps/,
    ],
    [
      "a hole",
      file(`{"a":${entry("U8", "[1]", 0, 1)},"b":${entry("U8", "[1]", 2, 3)}}`, 3),
      /"b" leaves a hole of 1/,
    ],
    ["a hole at the beginning", file(`{"a":${entry("U8", "[1]", 1, 2)}}`, 2), /hole/],
    ["bytes after the last tensor", file(`{"a":${entry("U8", "[1]", 0, 1)}}`, 2), /file of/],
    ["a truncated tensor", file(`{"a":${entry("U8", "[2]", 0, 2)}}`, 1), /file of/],
    [
      "a name twice",
      file(`{"a":${entry("U8", "[0]", 0, 0)},"\\u0061":${entry("U8", "[0]", 0, 0)}}`),
      /"a" stands twice/,
    ],
    ["metadata twice", file(`{"__metadata__":{},"__metadata__":{}}`), /twice/],
    ["a metadata key twice", file(`{"__metadata__":{"a":"","a":""}}`), /twice/],
    ["metadata that is no string", file(`{"__metadata__":{"a":1}}`), /a string belongs/],
    ["an unfinished string", file(`{"a\\`), /a string belongs/],
    ["a control character", file(`{"a\n":${entry("U8", "[0]", 0, 0)}}`), /a string belongs/],
  ];
  it.each(hostile)("refuse %s", (_, bytes, message) => {
    const read = () => parse(bytes);
    expect(read).toThrow(expect.objectContaining({ code: "FILE_CORRUPT" }));
    expect(read).toThrow(message);
  });

  it("name an element type that exists but is not supported", () => {
    const bytes = file(`{"w":${entry("F8_E4M3", "[1]", 0, 1)}}`, 1);
    expect(() => parse(bytes)).toThrow(expect.objectContaining({ code: "DTYPE_UNSUPPORTED" }));
    expect(() => parse(bytes)).toThrow(/"w" is F8_E4M3/);
  });

  it("keep names like __proto__ apart from objects' own", () => {
    const { metadata, tensors } = decodeSafetensors(
      encodeSafetensors([["__proto__", Tensor.f32([1])]], JSON.parse('{"__proto__":"x"}')),
    );
    expect(Object.entries(metadata)).toEqual([["__proto__", "x"]]);
    expect([...tensors.keys()]).toEqual(["__proto__"]);
  });
});

describe("any bytes at all", () => {
  const pieces = fc.oneof(
    fc.constantFrom(
      ...'{}[]",:\\ ',
      '"a":',
      '"__metadata__":{',
      entry("F32", "[1]", 0, 4),
      entry("U8", "[1,2]", 0, 2),
      '{"dtype":"I64"',
      ',"shape":[',
      ',"data_offsets":[',
      "-1",
      "1e9",
      "18446744073709551616",
      "\u0000",
    ),
    fc.string({ maxLength: 5 }),
  );
  const grammatical = fc.array(pieces, { maxLength: 20 }).map((parts) => file(parts.join(""), 4));
  const valid = file(
    `{"a":${entry("F32", "[1]", 0, 4)},"b":${entry("U8", "[2]", 4, 6)},"__metadata__":{"k":"v"}}`,
    6,
  );
  const damaged = fc
    .tuple(
      fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      fc.nat(40),
    )
    .map(([changes, cut]) => {
      const bytes = valid.slice(0, valid.length - Math.max(0, cut - 20));
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      return bytes;
    });
  const anything = fc.oneof(grammatical, damaged, fc.uint8Array({ maxLength: 64 }));

  it("either parse, consistently, or raise a DiffsightError (30,000 cases)", () => {
    fc.assert(
      fc.property(anything, (bytes) => {
        try {
          const { tensors } = decodeSafetensors(bytes);
          for (const tensor of tensors.values()) expect(tensor.size).toBe(count(tensor.dims));
        } catch (error) {
          expect(error).toBeInstanceOf(DiffsightError);
        }
      }),
      { numRuns: 30_000 },
    );
  });
});
