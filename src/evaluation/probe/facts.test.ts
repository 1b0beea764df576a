import { describe, expect, it } from "vitest";
import type { Store } from "../../data/index.js";
import { example, sceneRecord, World } from "../../diorama/index.js";
import { Tensor } from "../../tensor/index.js";
import { cellObjects, maskColumn, readFacts } from "./facts.js";

describe("cellObjects", () => {
  it("is the object that covers most of a cell, from a fifth of it on", () => {
    // Two by two cells of 4 x 4 pixels.
    const mask = new Uint8Array(64);
    const fill = (left: number, top: number, pixels: number, object: number) => {
      for (let i = 0; i < pixels; i++) mask[(top + Math.floor(i / 4)) * 8 + left + (i % 4)] = object;
    };
    fill(0, 0, 3, 1);
    fill(4, 0, 4, 1);
    fill(0, 4, 9, 2);
    fill(0, 7, 4, 3);
    expect([...cellObjects(mask, 8, 2)]).toEqual([0, 1, 2, 0]);
  });
});

describe("readFacts", () => {
  it("numbers what is true of the thing in each cell, and of the picture", async () => {
    const world = await World.open();
    const made = Array.from({ length: 6 }, (_, i) => example(world, i));
    const side = made[0]!.rendering.size;
    const lines = made.map((one) => sceneRecord(one, { image: "" }));
    const masks = Uint8Array.from(made.flatMap(({ rendering }) => [...rendering.mask]));
    const store = {
      folder: "scenes",
      gather: (name: string) => {
        expect(name).toBe(maskColumn);
        return new Tensor("u8", [6, side, side], masks);
      },
      line: (row: number) => lines[row],
    } as unknown as Store;
    const found = readFacts(store, [0, 1, 2, 3, 4, 5], { side, grid: 8 });
    const numbers = (name: string) => found[`fact ${name}`]!.toFloat32();
    expect(found["fact noun"]!.dims).toEqual([6, 64]);
    expect(found["fact place"]!.dims).toEqual([6]);
    for (const [i, { objects, place }] of lines.entries()) {
      const cells = [...numbers("noun").slice(64 * i, 64 * (i + 1))];
      const nouns = new Set(cells.filter((noun) => noun > 0));
      expect(nouns.size).toBe(new Set(objects.map(({ noun }) => noun)).size);
      // Cells without a thing have no colour, and coloured things have theirs in every cell.
      const colours = [...numbers("colour").slice(64 * i, 64 * (i + 1))];
      cells.forEach((noun, cell) => {
        if (noun === 0) expect(colours[cell]).toBe(0);
      });
      const coloured = objects.filter(({ colour }) => colour).length > 0;
      expect(colours.some((colour) => colour > 0)).toBe(coloured);
      const same = lines.findIndex((other) => other.place === place);
      expect(numbers("place")[i]).toBe(numbers("place")[same]);
      expect(numbers("place")[i]).toBeGreaterThan(0);
    }
  });

  it("refuses lines that do not say what is there", () => {
    const store = {
      folder: "scenes",
      gather: () => new Tensor("u8", [1, 8, 8], new Uint8Array(64)),
      line: () => ({ questions: [] }),
    } as unknown as Store;
    expect(() => readFacts(store, [0], { side: 8, grid: 2 })).toThrow("row 0 does not say what is in it");
  });
});
