/** @file A text that only chosen cross-attentions hear: between the conditional features and the unconditional ones. */

import { afterAll, describe, expect, it } from "vitest";
import { DiffusionEncoder, type EncodeOptions } from "../src/diffusion/index.js";
import type { Tensor } from "../src/tensor/index.js";
import { expectClose, goldenPath, maxDifference } from "./golden.js";

const prompt = "a photo of two dogs";
const middle = "mid-vit-block0-cross-q";

const pipelines = [
  { folder: "pipeline-sd21", image: "a.png", late: "up-level3-repeat0-vit-block0-out", early: "down" },
  { folder: "pipeline-sdxl", image: "a.png", late: "unet-out", early: "down-level1" },
];

/** The same numbers by another program: where it is cut, the runtime rounds otherwise. */
const expectSame = (a: Tensor, b: Tensor) => expectClose(a, b, 1e-5);

describe.each(pipelines)("text layers of $folder", ({ folder, image, late, early }) => {
  const opened = DiffusionEncoder.fromPretrained(goldenPath(folder), { device: "cpu" });
  afterAll(async () => (await opened).release());

  const taps = [middle, late];
  const encode = async (options: EncodeOptions) =>
    (await opened).encode(goldenPath(folder, "images", image), { prompt, taps, size: 64, ...options });
  const bits = (tensor: { data: ArrayLike<number | bigint> }) => [...(tensor.data as Float32Array)];

  it("all of them: the conditional features, bit for bit", async () => {
    const whole = await encode({ parts: ["conditional", "guided"] });
    const layers = (await (await opened).taps({ size: 64 })).filter(({ id }) => id.endsWith("-cross-map"));
    const named = layers.map(({ short }) => short.replace(/-Map$/, ""));
    for (const textLayers of [["*"], named, ["D-*", "mid", "up"]]) {
      const chosen = await encode({ parts: ["conditional", "guided"], textLayers });
      for (const [key, tensor] of whole.tensors) expect(bits(chosen.tensors.get(key)!)).toEqual(bits(tensor));
    }
  });

  it("none of them: the unconditional features, and no difference at all", async () => {
    const { tensors } = await encode({ parts: ["unconditional"] });
    const none = await encode({ parts: ["unconditional", "conditional", "delta"], textLayers: [] });
    for (const [key, tensor] of tensors) {
      expectSame(none.tensors.get(key)!, tensor);
      expectSame(none.tensors.get(key.replace(/unconditional$/, "conditional"))!, tensor);
    }
    for (const tap of taps) {
      const { data } = none.get(tap, { part: "delta" });
      expect((data as Float32Array).every((x) => x === 0)).toBe(true);
    }
  });

  it("some of them: what lies before the first is as without text, what lies after is its own", async () => {
    const whole = await encode({ parts: ["conditional", "unconditional"] });
    const some = await encode({ parts: ["conditional", "unconditional"], textLayers: ["up-*"] });
    const none = whole.get(middle, { part: "unconditional" });
    expectSame(some.get(middle, { part: "conditional" }), none);
    expectSame(some.get(late, { part: "unconditional" }), whole.get(late, { part: "unconditional" }));
    const own = some.get(late, { part: "conditional" });
    for (const part of ["conditional", "unconditional"] as const) {
      expect(maxDifference(own, whole.get(late, { part }))).toBeGreaterThan(1e-4);
    }
    const other = await encode({ parts: ["conditional"], textLayers: [early] });
    expect(maxDifference(own, other.get(late))).toBeGreaterThan(1e-4);
  });

  it("are part of what decided the numbers", async () => {
    const { request } = await encode({ taps: [middle], textLayers: ["up-*"] });
    expect(request).toMatchObject({ textLayers: ["up-*"] });
    expect((await encode({ taps: [middle] })).request).not.toHaveProperty("textLayers");
  });

  it("that do not exist are named", async () => {
    await expect(encode({ textLayers: ["U-L7-*"] })).rejects.toThrow(/Unknown tap .*level7/);
  });
});
