/** @file Tests of the npy codec. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DiffsightError } from "./errors.js";
import { decodeNpy, encodeNpy } from "./npy.js";
import { Tensor } from "./tensor.js";

/** A file with this header text, version and data. */
function file(header: string, data: Uint8Array, version = 1): Uint8Array {
  const text = new TextEncoder().encode(header);
  const length = version === 1 ? 2 : 4;
  const bytes = new Uint8Array(8 + length + text.length + data.length);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  const view = new DataView(bytes.buffer);
  if (version === 1) view.setUint16(8, text.length, true);
  else view.setUint32(8, text.length, true);
  bytes.set(text, 8 + length);
  bytes.set(data, 8 + length + text.length);
  return bytes;
}

const header = (descr: string, shape: string, order = "False") =>
  `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }\n`;
const six = Uint8Array.of(0, 1, 2, 3, 4, 5);

describe("npy", () => {
  it("is written as numpy writes it", () => {
    const bytes = encodeNpy(Tensor.f32([2, 3], [0, 1, 2, 3, 4, 5]));
    expect(bytes.length).toBe(128 + 24);
    expect(new TextDecoder("latin1").decode(bytes.subarray(0, 128))).toBe(
      `\x93NUMPY\x01\x00\x76\x00${"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".padEnd(117)}\n`,
    );
    expect(new TextDecoder().decode(encodeNpy(Tensor.f32([1])).subarray(10, 70))).toContain(
      "'shape': (1,), }",
    );
    expect(
      new TextDecoder().decode(encodeNpy(new Tensor("u8", [], Uint8Array.of(7))).subarray(10, 70)),
    ).toContain("(), }");
  });

  it.each(["f32", "f64", "f16", "i64", "i32", "i16", "i8", "u8", "u16", "u32", "u64"] as const)(
    "keeps %s",
    (dtype) => {
      const tensor = Tensor.f32([2, 2], [0, 1, 2, 3]).to(dtype);
      expect(decodeNpy(encodeNpy(tensor))).toEqual(tensor);
    },
  );

  it("writes bf16 as f32, the same numbers", () => {
    const tensor = Tensor.f32([3], [1, -2.5, 1e30]).to("bf16");
    const read = decodeNpy(encodeNpy(tensor));
    expect(read.dtype).toBe("f32");
    expect(read.data).toEqual(tensor.toFloat32());
  });

  it("reads versions 1 to 3, other orders of keys, and old shapes", () => {
    for (const version of [1, 2, 3])
      expect(decodeNpy(file(header("|u1", "(2, 3)"), six, version)).dims).toEqual([2, 3]);
    expect(decodeNpy(file("{'shape': (6L,), 'descr': '<u1', 'fortran_order': False}", six)).dims).toEqual([
      6,
    ]);
  });

  it("brings Fortran order into C order", () => {
    const read = decodeNpy(file(header("|u1", "(2, 3)", "True"), six));
    expect(read.toArray()).toEqual([
      [0, 2, 4],
      [1, 3, 5],
    ]);
    const cube = decodeNpy(file(header("|u1", "(1, 2, 3)", "True"), six));
    expect(cube.toArray()).toEqual([
      [
        [0, 2, 4],
        [1, 3, 5],
      ],
    ]);
  });

  it.each([
    ["an empty file", new Uint8Array(0), "FILE_CORRUPT"],
    ["another format", new TextEncoder().encode("PK\x03\x04 something"), "FILE_CORRUPT"],
    ["version 4", file(header("|u1", "(6,)"), six, 4), "FILE_CORRUPT"],
    ["a header beyond the file", file(header("|u1", "(6,)"), six, 2).subarray(0, 20), "FILE_CORRUPT"],
    ["a shape that does not fit", file(header("|u1", "(5,)"), six), "FILE_CORRUPT"],
    ["a negative size", file(header("|u1", "(-6,)"), six), "FILE_CORRUPT"],
    [
      "a product beyond all numbers",
      file(header("|u1", `(${"9007199254740991, ".repeat(40)})`), six),
      "FILE_CORRUPT",
    ],
    [
      "code in the header",
      file("{'descr': __import__('os'), 'fortran_order': False, 'shape': (6,)}", six),
      "FILE_CORRUPT",
    ],
    [
      "a key twice",
      file("{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (6,)}", six),
      "FILE_CORRUPT",
    ],
    [
      "a key too many",
      file("{'descr': '|u1', 'x': True, 'fortran_order': False, 'shape': (6,)}", six),
      "FILE_CORRUPT",
    ],
    ["big-endian numbers", file(header(">f2", "(3,)"), six), "DTYPE_UNSUPPORTED"],
    ["text", file(header("<U6", "()"), six), "DTYPE_UNSUPPORTED"],
    ["objects", file(header("|O8", "(0,)"), new Uint8Array(0)), "DTYPE_UNSUPPORTED"],
  ])("refuses %s", (_, bytes, code) => {
    expect(() => decodeNpy(bytes)).toThrow(expect.objectContaining({ code }));
  });

  it("either decodes any bytes or raises a DiffsightError (20,000 cases)", () => {
    const valid = file(header("<u2", "(3, 1)", "True"), six);
    const damaged = fc
      .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 4 })
      .map((changes) => {
        const bytes = valid.slice();
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      });
    const pieces = fc.constantFrom(
      "{",
      "}",
      "'descr'",
      ": ",
      "'<f4'",
      ", ",
      "(",
      ")",
      "True",
      "'shape'",
      "1",
      "L",
      "'",
    );
    const grammatical = fc.array(pieces, { maxLength: 24 }).map((parts) => file(parts.join(""), six));
    fc.assert(
      fc.property(fc.oneof(damaged, grammatical, fc.uint8Array({ maxLength: 40 })), (bytes) => {
        try {
          decodeNpy(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(DiffsightError);
        }
      }),
      { numRuns: 20_000 },
    );
  });
});
