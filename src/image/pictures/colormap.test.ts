import { describe, expect, it } from "vitest";
import { Tensor } from "../../tensor/index.js";
import { type ColormapName, colorize, colormapNames, colormapTable } from "./colormap.js";

/** CIE L* of an sRGB colour. */
function lightness([red, green, blue]: readonly number[]): number {
  const linear = [red!, green!, blue!].map((byte) =>
    byte <= 10.31475 ? byte / 3294.6 : ((byte / 255 + 0.055) / 1.055) ** 2.4,
  );
  const y = 0.2126 * linear[0]! + 0.7152 * linear[1]! + 0.0722 * linear[2]!;
  return y > 216 / 24389 ? 116 * Math.cbrt(y) - 16 : (y * 24389) / 27;
}

function lightnesses(name: ColormapName): number[] {
  const table = colormapTable(name);
  return Array.from({ length: 256 }, (_, i) => lightness([...table.subarray(i * 3, i * 3 + 3)]));
}

const row = (...values: number[]) => Tensor.f32([1, values.length], values);

describe("sequential colour maps", () => {
  it.each(["viridis", "magma", "inferno", "cividis"] as const)(
    "%s grows lighter all the way, evenly",
    (name) => {
      const steps = lightnesses(name);
      const differences = steps.slice(1).map((value, i) => value - steps[i]!);
      // Colours of 8 bits round lightness by a fraction of a unit.
      expect(Math.min(...differences)).toBeGreaterThan(-0.25);
      const tenths = Array.from(
        { length: 10 },
        (_, i) => steps[Math.round((i + 1) * 25.5)]! - steps[Math.round(i * 25.5)]!,
      );
      expect(Math.min(...tenths)).toBeGreaterThan(0);
      expect(Math.max(...tenths) / Math.min(...tenths)).toBeLessThan(2.2);
    },
  );

  it("have the published ends", () => {
    const ends = (name: ColormapName) => [
      ...colormapTable(name).slice(0, 3),
      ...colormapTable(name).slice(-3),
    ];
    expect(ends("viridis")).toEqual([0x44, 0x01, 0x54, 0xfd, 0xe7, 0x25]);
    expect(ends("magma")).toEqual([0x00, 0x00, 0x04, 0xfc, 0xfd, 0xbf]);
    expect(ends("inferno")).toEqual([0x00, 0x00, 0x04, 0xfc, 0xff, 0xa4]);
  });
});

describe("the diverging colour map", () => {
  const steps = lightnesses("blue-red");

  it("is lightest in the middle and falls to both sides", () => {
    for (let i = 1; i < 128; i++) expect(steps[i]! - steps[i - 1]!).toBeGreaterThan(-0.05);
    for (let i = 128; i < 255; i++) expect(steps[i]! - steps[i + 1]!).toBeGreaterThan(-0.05);
    expect(steps[127]).toBeGreaterThan(95);
  });

  it("gives both signs the same weight", () => {
    for (let i = 0; i < 128; i++) expect(Math.abs(steps[i]! - steps[255 - i]!)).toBeLessThan(4);
  });
});

describe("colorize", () => {
  it("spreads a map over its own range unless told", () => {
    const { data } = colorize(row(-3, 5), { colormap: "magma" });
    expect([...data]).toEqual([...colormapTable("magma").slice(0, 3), ...colormapTable("magma").slice(-3)]);
  });

  it("keeps the end colours beyond the given numbers", () => {
    const beyond = colorize(row(-9, 0, 1, 9, Number.POSITIVE_INFINITY), { min: 0, max: 1 });
    const ends = colorize(row(0, 0, 1, 1, 1), { min: 0, max: 1 });
    expect(beyond.data).toEqual(ends.data);
  });

  it("draws flat maps at the low end and holes in grey", () => {
    expect([...colorize(row(2, 2)).data]).toEqual([...colorize(row(0, 0), { min: 0, max: 1 }).data]);
    expect([...colorize(row(Number.NaN, 1, 2)).data.slice(0, 3)]).toEqual([150, 150, 150]);
  });

  it("takes the robust range when asked, so that one outlier does not dim the rest", () => {
    const values = Array.from({ length: 200 }, (_, i) => i);
    const outlier = Tensor.f32([1, 201], [...values, 1e6]);
    const middle = (image: { data: Uint8Array }) => image.data.slice(300, 303);
    expect(middle(colorize(outlier))).toEqual(colormapTable("viridis").slice(0, 3));
    expect(middle(colorize(outlier, { normalise: "robust" }))).not.toEqual(
      colormapTable("viridis").slice(0, 3),
    );
  });

  it("names the colour maps when one is unknown, and the shape when it is no map", () => {
    expect(() => colorize(row(1), { colormap: "jet" as ColormapName })).toThrow(colormapNames.join(", "));
    expect(() => colorize(Tensor.f32([2, 2, 2]))).toThrow(/\[2, 2, 2\]/);
    expect(() => colorize(row(1), { normalise: [2, 1] })).toThrow(/2 to 1/);
  });
});
