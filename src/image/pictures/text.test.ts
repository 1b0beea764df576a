import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blankSheet } from "./canvas.js";
import { drawText, fitText, lineHeight, type TextStyle, textWidth, wrapText } from "./text.js";

const styles: TextStyle[] = ["caption", "label", "heading"];

/** Columns and rows of the drawn pixels: [left, top, right, bottom], or none. */
function inkBox(text: string, style: TextStyle): [number, number, number, number] | undefined {
  const width = 40 + textWidth(text, style);
  const page = blankSheet(width, 60);
  drawText(page, text, { x: 20, y: 20, style });
  let box: [number, number, number, number] | undefined;
  for (let y = 0; y < 60; y++) {
    for (let x = 0; x < width; x++) {
      if (page.data[(y * width + x) * 3] === 255) continue;
      box ??= [x, y, x, y];
      box = [Math.min(box[0], x), box[1], Math.max(box[2], x), y];
    }
  }
  return box;
}

describe("text", () => {
  it.each(styles)("in style %s stays within its line box", (style) => {
    const [left, top, right, bottom] = inkBox("Åjgpy|{}Çß", style)!;
    expect(left).toBeGreaterThanOrEqual(19);
    expect(right).toBeLessThanOrEqual(20 + textWidth("Åjgpy|{}Çß", style));
    expect(top).toBeGreaterThanOrEqual(19);
    expect(bottom).toBeLessThanOrEqual(20 + lineHeight(style));
  });

  it.each(styles)("has all of Latin-1 and the symbols of the field in style %s", (style) => {
    const box = textWidth("日", style);
    const printable = Array.from({ length: 224 }, (_, i) => String.fromCodePoint(32 + i)).filter(
      (c) => !/\p{C}/u.test(c),
    );
    for (const character of [...printable, ..."ŁőşĀαβεσΔ·−×°²µ–“”…≤≥≈"]) {
      if (character.trim() === "") continue;
      const [left, , right] = inkBox(character, style)!;
      expect(right - left, character).toBeLessThan(20);
    }
    expect(box).toBeGreaterThan(5);
  });

  it("draws a box for what it does not have, one a character", () => {
    expect(textWidth("日本", "caption")).toBe(2 * textWidth("日", "caption"));
    expect(inkBox("日", "caption")).toBeDefined();
  });

  it("composes accents and leaves out marks and joiners that it cannot place", () => {
    expect(textWidth("e\u0301", "label")).toBe(textWidth("é", "label"));
    expect(textWidth("x\u200d\u0338", "label")).toBe(textWidth("x", "label"));
    expect(inkBox("\n\t", "label")).toBeUndefined();
  });

  it("never fails, whatever the characters and wherever they are put", () => {
    const page = blankSheet(40, 30);
    const anywhere = fc.integer({ min: -300, max: 300 });
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }),
        anywhere,
        anywhere,
        fc.constantFrom(...styles),
        (text, x, y, style) => {
          drawText(page, text, { x, y, style });
          expect(textWidth(text, style)).toBeGreaterThanOrEqual(0);
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe("fitting text", () => {
  it("keeps what fits and ends the rest in an ellipsis within the width", () => {
    expect(fitText("short", 100, "caption")).toBe("short");
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 20, max: 300 }), (text, width) => {
        expect(textWidth(fitText(text, width, "label"), "label")).toBeLessThanOrEqual(width);
      }),
    );
  });

  it("wraps at spaces and never beyond the number of lines", () => {
    expect(wrapText("one two three", 50, "caption", 3)).toEqual(["one two", "three"]);
    const long = wrapText("word ".repeat(2000), 200, "caption", 3);
    expect(long).toHaveLength(3);
    expect(long[2]).toMatch(/…$/);
    expect(wrapText("  ", 50, "caption", 3)).toEqual([]);
  });
});
