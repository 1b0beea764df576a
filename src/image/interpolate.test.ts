import { describe, expect, it } from "vitest";
import { Tensor } from "../tensor/index.js";
import { type InterpolateMode, interpolate, poolGrid } from "./interpolate.js";

const map = Tensor.f32([3, 4], [0.8, 0.17, 0.09, -0.61, 0.05, -1.37, 0.34, 1.01, -1.44, 0.98, 0.52, 1.24]);

/** torch 2.13: `F.interpolate(map[None, None], size, mode=mode)`, align_corners=False where it applies. */
const fromTorch: [InterpolateMode, [number, number], number[]][] = [
  [
    "bicubic",
    [5, 6],
    [
      0.9201044, 0.61853, 0.2480284, 0.1647036, -0.37337, -0.8377005, 0.7215747, -0.062479, -0.5884097,
      0.0572969, 0.160279, -0.0129335, 0.1732639, -0.8203125, -1.2594792, 0.0117708, 0.8353125, 1.0681597,
      -0.9916788, -0.5271711, 0.092558, 0.3406262, 0.9156712, 1.3367782, -1.82511, -0.1260651, 1.3391694,
      0.6186933, 0.8370252, 1.3249968,
    ],
  ],
  ["bicubic", [2, 3], [0.5400054, -0.1124133, -0.1879101, -0.9119636, 0.512478, 1.1378658]],
  [
    "bilinear",
    [5, 6],
    [
      0.8, 0.485, 0.1566667, 0.1033333, -0.26, -0.61, 0.5, 0.0269999, -0.34, 0.084, 0.114, 0.0380001, 0.05,
      -0.66, -1.0849999, 0.0550001, 0.675, 1.01, -0.8440002, -0.402, 0.1080003, 0.3800001, 0.798, 1.148,
      -1.4400001, -0.23, 0.9033333, 0.5966667, 0.8799999, 1.24,
    ],
  ],
  ["bilinear", [2, 3], [0.4745834, -0.03125, -0.1454167, -0.8241667, 0.43375, 1.0645834]],
  [
    "nearest",
    [5, 6],
    [
      0.8, 0.8, 0.17, 0.09, 0.09, -0.61, 0.8, 0.8, 0.17, 0.09, 0.09, -0.61, 0.05, 0.05, -1.37, 0.34, 0.34,
      1.01, 0.05, 0.05, -1.37, 0.34, 0.34, 1.01, -1.44, -1.44, 0.98, 0.52, 0.52, 1.24,
    ],
  ],
  ["area", [2, 3], [-0.0875, -0.1925, 0.2075, -0.4450001, 0.1175, 0.7775]],
  [
    "area",
    [5, 6],
    [
      0.8, 0.485, 0.17, 0.09, -0.26, -0.61, 0.425, -0.0875, -0.6, 0.215, 0.2075, 0.2, 0.05, -0.66, -1.37,
      0.34, 0.675, 1.01, -0.6950001, -0.4450001, -0.195, 0.43, 0.7775, 1.125, -1.4400001, -0.23, 0.98, 0.52,
      0.88, 1.24,
    ],
  ],
];

/** adaptive_avg_pool2d along axes that shrink, F.interpolate bilinear along those that grow. */
const pooled: [number, number[]][] = [
  [2, [-0.0875, 0.2075, -0.4450001, 0.7775]],
  [3, [0.485, 0.13, -0.26, -0.66, -0.515, 0.675, -0.23, 0.75, 0.88]],
  [
    4,
    [
      0.8, 0.17, 0.09, -0.61, 0.33125, -0.7925, 0.24625, 0.4025, -0.50875, -0.48875, 0.4075, 1.0962501,
      -1.4400001, 0.98, 0.52, 1.24,
    ],
  ],
];

function expectNear(actual: Tensor, expected: readonly number[]): void {
  expect(actual.size).toBe(expected.length);
  const worst = Math.max(...actual.toFloat32().map((value, i) => Math.abs(value - expected[i]!)));
  expect(worst).toBeLessThan(1e-6);
}

describe("interpolation", () => {
  it.each(fromTorch)("%s to %j equals torch's", (mode, size, expected) => {
    const result = interpolate(map, size, mode);
    expect(result.dims).toEqual(size);
    expectNear(result, expected);
  });

  it("treats leading axes one by one", () => {
    const two = Tensor.f32([2, 1, 3, 4], [...map.toFloat32(), ...map.toFloat32().map((value) => 2 * value)]);
    const result = interpolate(two, [5, 6], "bicubic");
    const one = interpolate(map, [5, 6], "bicubic");
    expect(result.dims).toEqual([2, 1, 5, 6]);
    expect(result.toFloat32().slice(0, 30)).toEqual(one.toFloat32());
    expect(result.toFloat32().slice(30)).toEqual(one.toFloat32().map((value) => 2 * value));
  });

  it("picks the same neighbours as torch where single precision decides", () => {
    const ramp = Tensor.f32(
      [1, 41],
      Array.from({ length: 41 }, (_, i) => i),
    );
    const picked = interpolate(ramp, [1, 61], "nearest").toFloat32();
    const indices = Array.from({ length: 61 }, (_, i) => Math.floor(Math.fround(i * Math.fround(41 / 61))));
    expect([...picked]).toEqual(indices);
  });

  it("keeps a map that has the size already", () => {
    for (const mode of ["bicubic", "bilinear", "nearest", "area"] as const) {
      expect(interpolate(map, [3, 4], mode).toFloat32()).toEqual(map.toFloat32());
    }
  });

  it("keeps holes from spreading to where they carry no weight", () => {
    const holed = Tensor.f32([1, 4], [1, 2, Number.NaN, 4]);
    expect([...interpolate(holed, [1, 2], "area").toFloat32()]).toEqual([1.5, Number.NaN]);
  });

  it("refuses what is no map and sizes that are none", () => {
    expect(() => interpolate(Tensor.f32([4]), [2, 2], "area")).toThrow(/\[4\]/);
    expect(() => interpolate(map, [0, 2], "area")).toThrow(/not 0/);
    expect(() => poolGrid(map, 2.5)).toThrow(/not 2.5/);
  });
});

describe("pooling a grid", () => {
  it.each(pooled)(
    "to %i on a side averages axes that shrink and interpolates axes that grow",
    (size, expected) => {
      expectNear(poolGrid(map, size), expected);
    },
  );

  it("keeps the mean when it shrinks evenly", () => {
    const grid = Tensor.f32(
      [8, 8],
      Array.from({ length: 64 }, (_, i) => Math.sin(i)),
    );
    const mean = (tensor: Tensor) => tensor.toFloat32().reduce((sum, value) => sum + value, 0) / tensor.size;
    expect(mean(poolGrid(grid, 2))).toBeCloseTo(mean(grid), 6);
  });
});
