/** @file A CLIP's embeddings of pictures, one at a time. */

import { Engine } from "../src/engine/index.js";
import { input } from "../src/graph/index.js";
import { clipPixels, readPreprocessorConfig } from "../src/image/index.js";
import { clipVision, readClipConfig } from "../src/models/index.js";
import type { Tensor } from "../src/tensor/index.js";
import { openModel, Scope } from "../src/weights/index.js";

export async function imageEmbedder(source: string) {
  const folder = await openModel(source);
  const { vision } = readClipConfig(await folder.json("config.json"));
  const preprocessor = readPreprocessorConfig(await folder.json("preprocessor_config.json"));
  const engine = await Engine.open({ device: "cpu", memory: "fast", threads: 1, host: "here" });
  const side = vision.imageSize;
  const { imageEmbeds } = clipVision(
    Scope.of(await folder.checkpoint("")),
    vision,
    input("pixels", [1, 3, side, side]),
  );
  const program = engine.compile({ embedding: imageEmbeds! });
  return {
    /** rgb [side, side, 3] -> [1, projection_dim] */
    async see(data: Uint8Array, side: number): Promise<Tensor> {
      const picture = { data, width: side, height: side };
      return (await program.run({ pixels: clipPixels(picture, preprocessor) })).embedding!;
    },
    [Symbol.asyncDispose]: () => engine.dispose(),
  };
}
