/** @file A page's worker that encodes one image and posts the shape of its features. */

import { DiffusionEncoder } from "../../../src/index.js";

addEventListener("message", async ({ data }: MessageEvent<{ model: string; image: string }>) => {
  await using eye = await DiffusionEncoder.fromPretrained(data.model, { device: "cpu" });
  const { features } = await eye.encode(data.image, { size: 64 });
  postMessage(features.dims);
});
