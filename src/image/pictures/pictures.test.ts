import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Tensor } from "../../tensor/index.js";
import type { RgbImage } from "../image.js";
import {
  colorize,
  contactSheet,
  deltaPicture,
  featureSheet,
  normMap,
  normPicture,
  overlay,
  overlayPicture,
  overlayTile,
  pcaPicture,
  pcaPictures,
  similarityMap,
  similarityPicture,
} from "./index.js";

const hash = ({ width, height, data }: RgbImage) =>
  `${width}x${height} ${createHash("sha256").update(data).digest("hex").slice(0, 16)}`;

/** Numbers in [-0.5, 0.5) that are the same everywhere. */
function noise(count: number, seed = 1): Float32Array {
  let state = seed;
  return Float32Array.from(
    { length: count },
    () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5,
  );
}

const features = (dims: number[], seed = 1) =>
  new Tensor(
    "f32",
    dims,
    noise(
      dims.reduce((a, b) => a * b),
      seed,
    ),
  );
const photo: RgbImage = {
  width: 40,
  height: 30,
  data: Uint8Array.from({ length: 3600 }, (_, i) => (i * 7) % 256),
};
const spot = Tensor.f32(
  [6, 8],
  Array.from({ length: 48 }, (_, i) => (i === 19 ? 1 : 0)),
);

const pixel = (image: RgbImage, x: number, y: number) => [
  ...image.data.subarray((y * image.width + x) * 3).subarray(0, 3),
];
const light = (rgb: number[]) => rgb[0]! + rgb[1]! + rgb[2]!;

describe("an overlay", () => {
  it("has the picture's size and leaves the picture alone", () => {
    const before = photo.data.slice();
    const result = overlay(photo, spot);
    expect([result.width, result.height, result.data.length]).toEqual([40, 30, 3600]);
    expect(photo.data).toEqual(before);
  });

  it("glows where the map is strong, and shows the picture, receding, where it is weak", () => {
    const white: RgbImage = { width: 40, height: 30, data: new Uint8Array(3600).fill(255) };
    const result = overlay(white, spot);
    const [centre, corner] = [pixel(result, 17, 12), pixel(result, 39, 29)];
    expect(corner).toEqual([159, 159, 159]);
    expect(centre[0]).toBeGreaterThan(220);
    expect(centre[2]).toBeLessThan(centre[0]!);
  });

  it("is the picture itself at opacity 0", () => {
    expect(overlay(photo, spot, { opacity: 0 }).data).toEqual(photo.data);
    expect(() => overlay(photo, spot, { opacity: 1.5 })).toThrow(/1.5/);
  });

  it("does not fail on maps that are flat, huge, or full of holes", () => {
    for (const value of [0, 3e38, Number.NaN, Number.NEGATIVE_INFINITY]) {
      const map = Tensor.f32([2, 2], [value, value, value, value]);
      expect(overlay(photo, map).data).toEqual(overlay(photo, Tensor.f32([2, 2])).data);
    }
    expect(overlay(photo, Tensor.f32([2, 2], [Number.NaN, 0, 1, 2])).data).toHaveLength(3600);
  });

  it("takes one scale for several maps when a range is given", () => {
    const half = Tensor.f32(
      [6, 8],
      [...spot.toFloat32()].map((value) => value / 2),
    );
    expect(overlay(photo, half).data).toEqual(overlay(photo, spot).data);
    expect(overlay(photo, half, { normalise: [0, 1] }).data).not.toEqual(overlay(photo, spot).data);
  });
});

describe("maps of features", () => {
  it("are the L2 norm of each position", () => {
    expect([...normMap(Tensor.f32([2, 1, 3], [3, 0, 1, 4, 0, 0])).toFloat32()]).toEqual([5, 0, 1]);
  });

  it("are the cosine with one patch: 1 at itself, whatever the lengths", () => {
    const map = similarityMap(Tensor.f32([2, 1, 4], [1, 5, 0, -2, 0, 0, 3, 0]), { x: 0, y: 0 });
    expect([...map.toFloat32()]).toEqual([1, 1, 0, -1]);
    expect(() => similarityMap(features([2, 3, 4]), { x: 4, y: 0 })).toThrow(
      /columns are 0 to 3, rows 0 to 2/,
    );
  });

  it("take half precision and a batch of one", () => {
    const exact = Tensor.f32([1, 2, 1, 2], [3, 1, 4, 0]);
    expect(normMap(exact.to("f16"))).toEqual(normMap(exact));
    expect(() => normMap(features([2, 3, 4, 4]))).toThrow(/\[2, 3, 4, 4\]/);
  });
});

describe("pictures of features", () => {
  it("show the same features in the same colours, however the tensors are ordered", () => {
    const [a, b] = [features([12, 4, 4], 1), features([12, 4, 4], 2)];
    const [first, second] = pcaPictures([a, b]);
    const [secondAgain, firstAgain] = pcaPictures([b, a]);
    expect(hash(firstAgain!)).toBe(hash(first!));
    expect(hash(secondAgain!)).toBe(hash(second!));
    expect(() => pcaPictures([a, features([8, 4, 4])])).toThrow(/12 and 8/);
  });

  it("survive grids without variance", () => {
    expect(pcaPicture(Tensor.f32([3, 2, 2])).width).toBeGreaterThan(0);
    expect(pcaPicture(features([1, 1, 1])).width).toBeGreaterThan(0);
    expect(normPicture(Tensor.f32([3, 2, 2])).width).toBeGreaterThan(0);
    expect(deltaPicture(Tensor.f32([3, 2, 2]), { reference: Tensor.f32([3, 2, 2]) }).width).toBeGreaterThan(
      0,
    );
    expect(similarityPicture(Tensor.f32([3, 2, 2]), { x: 1, y: 1 }).width).toBeGreaterThan(0);
  });

  it("say which number cannot be drawn", () => {
    expect(() => pcaPicture(Tensor.f32([1, 1, 2], [0, Number.NaN]))).toThrow(/NaN at position 1/);
  });

  it("are large, even cells unless smoothing is asked for", () => {
    const cells = normPicture(features([4, 8, 8]), { side: 160 });
    const smooth = normPicture(features([4, 8, 8]), { side: 160, smooth: true });
    expect([smooth.width, smooth.height]).toEqual([cells.width, cells.height]);
    expect(new Set(Array.from({ length: 20 }, (_, x) => pixel(cells, 20 + x, 60).join())).size).toBe(1);
    expect(
      new Set(Array.from({ length: 20 }, (_, x) => pixel(smooth, 20 + x, 60).join())).size,
    ).toBeGreaterThan(1);
  });
});

describe("sheets", () => {
  const tile = {
    image: colorize(spot),
    title: "word",
    caption: "a longer caption that has to be broken into lines",
  };

  it("grow with their tiles and wrap them into columns", () => {
    const one = contactSheet([tile]);
    const two = contactSheet([tile, tile], { columns: 2 });
    const under = contactSheet([tile, tile], { columns: 1 });
    expect(two.width).toBeGreaterThan(one.width);
    expect(two.height).toBe(one.height);
    expect(under.height).toBeGreaterThan(one.height);
    expect(under.width).toBe(one.width);
  });

  it("are empty paper without tiles", () => {
    const { data } = contactSheet([]);
    expect(data.every((value) => value === 255)).toBe(true);
  });

  it("hold titles of any length", () => {
    const title = "a photo of ".repeat(900);
    const sheet = contactSheet([{ ...tile, title, caption: title }], { title, subtitle: title });
    expect(sheet.height).toBeLessThan(400);
  });

  it("refuse impossible columns and pictures too large for any viewer", () => {
    expect(() => contactSheet([tile], { columns: 0 })).toThrow(/not 0/);
    const rows = new Array(6000).fill(overlayTile(photo, spot, { side: 300 }));
    expect(() => contactSheet(rows, { columns: 1 })).toThrow(/340 x \d+ is too large/);
  });
});

describe("a sheet of features", () => {
  const place = "up-level1-repeat1-vit-block0-cross-q/t50";
  const guided = features([16, 4, 6], 3);
  const all = new Map([
    [`${place}/guided`, guided],
    [`${place}/unconditional`, features([16, 4, 6], 4)],
    [`${place}/delta`, features([16, 4, 6], 5)],
    ["up-level1-repeat1-vit-block0-cross-k/t50/guided", features([77, 16])],
  ]);

  it("has a row a tensor, a column a kind, and names what has no grid", () => {
    const full = featureSheet(all, { image: photo, title: "which way?" });
    const fewer = featureSheet(all, { kinds: ["pca", "norm"] });
    expect(full.width).toBeGreaterThan(fewer.width);
    const alone = featureSheet(new Map([[`${place}/guided`, guided]]));
    expect(full.height).toBeGreaterThan(1.8 * alone.height);
  });

  it("leaves the column of changes out where there are none", () => {
    const without = featureSheet(new Map([[`${place}/guided`, guided]]));
    const three = featureSheet(new Map([[`${place}/guided`, guided]]), {
      kinds: ["pca", "norm", "similarity"],
    });
    expect(hash(without)).toBe(hash(three));
  });

  it("takes the change from conditional and unconditional when it was not kept", () => {
    const [c, u] = [features([16, 4, 6], 6), features([16, 4, 6], 7)];
    const difference = c.toFloat32().map((value, i) => value - u.toFloat32()[i]!);
    const parts: [string, Tensor][] = [
      [`${place}/conditional`, c],
      [`${place}/unconditional`, u],
    ];
    const kept = new Map([...parts, [`${place}/delta`, new Tensor("f32", c.dims, difference)] as const]);
    expect(hash(featureSheet(new Map(parts)))).toBe(hash(featureSheet(kept)));
  });

  it("draws a change that stands alone", () => {
    expect(featureSheet(new Map([[`${place}/delta`, guided]])).width).toBeGreaterThan(600);
  });

  it("says what it found when there is nothing to draw", () => {
    expect(() => featureSheet(new Map([["cross-k", features([77, 16])]]))).toThrow(/cross-k \[77, 16\]/);
    expect(() => featureSheet(all, { kinds: ["pac" as "pca"] })).toThrow(
      /"pac".*pca, norm, delta, similarity/,
    );
    expect(() => featureSheet(all, { point: { x: 0.5, y: 1.5 } })).toThrow(/1.5/);
  });
});

describe("the same numbers", () => {
  it("give the same pixels on every machine", () => {
    const grid = features([24, 8, 8]);
    const pictures = {
      pca: pcaPicture(grid, { title: "U-L1-R1-B0-Cross-Q", subtitle: "t = 50" }),
      norm: normPicture(grid),
      delta: deltaPicture(grid),
      similarity: similarityPicture(grid, { x: 2, y: 5 }, { smooth: true }),
      overlay: overlayPicture(photo, spot, { title: "dog", side: 200 }),
      sheet: featureSheet(new Map([["mid-out/t50/guided", grid]]), { image: photo }),
    };
    const hashes = Object.fromEntries(Object.entries(pictures).map(([name, image]) => [name, hash(image)]));
    expect(hashes).toMatchInlineSnapshot(`
      {
        "delta": "424x488 da35e8d8eb67df9c",
        "norm": "424x488 98990e9d5ce5bf41",
        "overlay": "240x234 38b1125e10ee8867",
        "pca": "424x541 7fdef2dea1892861",
        "sheet": "856x336 edc2244b66d9312a",
        "similarity": "424x488 d4d7c77d155393f4",
      }
    `);
    expect(light(pixel(pictures.pca, 0, 0))).toBe(765);
  });
});
