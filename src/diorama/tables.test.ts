import { describe, expect, it } from "vitest";
import { angleOf, decodeTable, encodeSteps, encodeTable, turned } from "./tables.js";

describe("angles without transcendental functions", () => {
  it("have the cosine and sine of Math to the last bits", () => {
    for (let steps = -5000; steps <= 9000; steps += 3.5) {
      const [c, s] = turned(steps);
      expect(Math.abs(c - Math.cos((steps * Math.PI) / 2048))).toBeLessThan(4e-15);
      expect(Math.abs(s - Math.sin((steps * Math.PI) / 2048))).toBeLessThan(4e-15);
    }
  });

  it("are exact at quarter turns", () => {
    expect([0, 1024, 2048, 3072, 4096].map((steps) => turned(steps).map((x) => x + 0))).toEqual([
      [1, 0],
      [0, 1],
      [-1, 0],
      [0, -1],
      [1, 0],
    ]);
  });

  it("are found back within 1e-5", () => {
    for (let steps = -2047; steps < 2048; steps++) {
      const [c, s] = turned(steps);
      expect(Math.abs(angleOf(3 * s, 3 * c) - (steps * Math.PI) / 2048)).toBeLessThan(1.2e-5);
    }
    expect(angleOf(0, 0)).toBe(0);
  });
});

describe("the sRGB curve", () => {
  it("is the standard's", () => {
    for (let byte = 0; byte < 256; byte++) {
      const value = byte / 255;
      const light = value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
      expect(Math.abs(decodeTable[byte]! - light)).toBeLessThan(1e-14);
    }
  });

  it("is undone by encoding", () => {
    for (let byte = 0; byte < 256; byte++) {
      expect(encodeTable[Math.floor(decodeTable[byte]! * encodeSteps + 0.5)]).toBe(byte);
    }
  });
});
