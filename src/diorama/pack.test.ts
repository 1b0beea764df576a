import fc from "fast-check";
import { zlibSync } from "fflate";
import { describe, expect, it } from "vitest";
import { DiffsightError } from "../tensor/index.js";
import { checksum, magic, type PackIndex, readPack } from "./pack.js";

const index: PackIndex = { meshes: [], textures: [], panoramas: [] };

function pack(text: string, content: Uint8Array): Uint8Array {
  const json = new TextEncoder().encode(text);
  const body = new Uint8Array(4 + json.length + content.length);
  new DataView(body.buffer).setUint32(0, json.length, true);
  body.set(json, 4);
  body.set(content, 4 + json.length);
  const packed = zlibSync(body);
  const file = new Uint8Array(16 + packed.length);
  file.set(new TextEncoder().encode(magic));
  new DataView(file.buffer).setUint32(8, body.length, true);
  new DataView(file.buffer).setUint32(12, checksum(body), true);
  file.set(packed, 16);
  return file;
}

const content = Uint8Array.from({ length: 300 }, (_, i) => (i * i) & 255);
const whole = pack(JSON.stringify(index), content);

function problem(file: Uint8Array): string {
  try {
    readPack(file);
    return "";
  } catch (error) {
    expect(error).toBeInstanceOf(DiffsightError);
    expect((error as DiffsightError).code).toBe("PACK_BROKEN");
    return (error as Error).message;
  }
}

describe("the pack", () => {
  it("gives back its index and bytes", () => {
    const read = readPack(whole);
    expect(read.index).toEqual(index);
    expect(read.bytes({ at: 10, length: 20 })).toEqual(content.subarray(10, 30));
    expect(() => read.bytes({ at: 290, length: 20 })).toThrow(/bytes 290 to 310/);
  });

  it("says what is wrong with it", () => {
    expect(problem(new Uint8Array())).toMatch(/begins with ""/);
    expect(problem(Uint8Array.of(...new TextEncoder().encode("PK34PK34"), 1, 2))).toMatch(
      /begins with "PK34PK34"/,
    );
    expect(problem(whole.subarray(0, 12))).toMatch(/ends after 12 bytes/);
    expect(problem(whole.subarray(0, whole.length - 40))).toMatch(/bytes instead of|cannot be inflated/);
    const other = whole.slice();
    other[13]! ^= 1;
    expect(problem(other)).toMatch(/checksum/);
    expect(problem(pack("{", content))).toMatch(/index/);
    expect(problem(pack("[]", content))).toMatch(/index/);
  });

  it("that is damaged anywhere is refused, or reads the same", () => {
    fc.assert(
      fc.property(
        fc.nat(whole.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        (at, change, cut) => {
          const damaged = cut ? whole.slice(0, at) : whole.slice();
          if (!cut) damaged[at]! ^= change;
          if (problem(damaged) !== "") return;
          // zlib's own header and checksum hold nothing of ours.
          expect(readPack(damaged).index).toEqual(index);
          expect(readPack(damaged).bytes({ at: 0, length: 300 })).toEqual(content);
        },
      ),
      { numRuns: 10_000 },
    );
  });
});
