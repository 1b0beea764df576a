/** @file A diffusion encoder whose cells are folded: the same numbers in fewer tokens. */

import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { decodeImage } from "../src/image/index.js";
import type { Tensor } from "../src/tensor/index.js";
import { EncoderOpener, encoderSchema, type OpenEncoder } from "../src/vlm/index.js";
import { root } from "./cli.js";

const model = path.join(root, "assets/micro/sd");
let opener: EncoderOpener;
beforeAll(async () => {
  opener = new EncoderOpener(await Engine.open({ device: "cpu" }), { device: "cpu", threads: 1 });
});
afterAll(async () => {
  await opener.release();
  await opener.engine.dispose();
});

const open = (more: object): Promise<OpenEncoder> =>
  opener.open(
    encoderSchema.parse({ kind: "diffusion", model, tap: "U-L2-R2-Res-Out", fit: "squash", ...more }),
    { source: model, revision: undefined },
  );

async function seen(encoder: OpenEncoder): Promise<Tensor> {
  const image = await decodeImage(path.join(root, "assets/scenes/box.png"));
  return await encoder.see({ image, key: "box" }, { prompt: "", guidance: 0, reason: "none" });
}

describe("folding", () => {
  it("joins the cells of a block, and loses nothing", async () => {
    const [plain, folded] = [await open({}), await open({ fold: 2 })];
    expect(plain.shape).toEqual({ tokens: 256, width: 48, grid: [16, 16] });
    expect(folded.shape).toEqual({ tokens: 64, width: 192, grid: [8, 8] });
    const [cells, tokens] = [await seen(plain), await seen(folded)];
    expect(tokens.dims).toEqual([1, 64, 192]);
    const [from, to] = [cells.toFloat32(), tokens.toFloat32()];
    // Token (3, 5), channel 7, the block's lower left cell.
    expect(to[(3 * 8 + 5) * 192 + 7 * 4 + 2]).toBe(from[(7 * 16 + 10) * 48 + 7]);
    expect([...to].sort()).toEqual([...from].sort());
  });

  it("refuses a grid that does not divide", async () => {
    await expect(open({ fold: 3 })).rejects.toThrow(
      "U-L2-R2-Res-Out has 16 x 16 cells, which do not fold by 3",
    );
    await expect(open({ pool: 4, fold: 8 })).rejects.toThrow("4 x 4 cells");
  });
});
