/** @file CLIP's contrastive loss and the gradient of every parameter against transformers and torch. */

import { expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import {
  constant,
  gradients,
  input,
  isOp,
  reshape,
  topologicalOrder,
  type Value,
} from "../src/graph/index.js";
import { clip, pooledIndex, readClipConfig } from "../src/models/index.js";
import { Tensor } from "../src/tensor/index.js";
import { contrastiveLoss } from "../src/training/losses.js";
import { openModel, Scope } from "../src/weights/index.js";
import { expectClose, Golden, goldenPath } from "./golden.js";

it("CLIP learns as in transformers", async () => {
  const golden = new Golden("clip-train");
  const one = golden.case("case0");
  const folder = await openModel(goldenPath("clip-train"));
  const config = readClipConfig(await folder.json("config.json"));
  const pixels = golden.input(one, "pixel_values");
  const ids = golden.input(one, "input_ids");
  const rows = (ids.toArray() as number[][]).map((row) => pooledIndex(row, config.text));
  const ends = Tensor.i64([rows.length], rows);

  const { logitsPerImage } = clip(Scope.of(await folder.checkpoint("")), config, {
    pixels: input("pixels", pixels.dims),
    ids: input("ids", ids.dims, "i64"),
    eosIndex: input("ends", ends.dims, "i64"),
  });
  const own = Array.from({ length: rows.length ** 2 }, (_, i) => (i % (rows.length + 1) === 0 ? 1 : 0));
  const targets = constant(Tensor.f32([rows.length, rows.length], own));
  const loss = reshape(contrastiveLoss(logitsPerImage, targets, targets), [1]);

  const parameters = topologicalOrder([loss]).filter((value) => isOp(value, "parameter"));
  const slopes = gradients(loss, parameters);
  const outputs: Record<string, Value> = { loss, logits_per_image: logitsPerImage };
  for (const [i, { attributes }] of parameters.entries()) outputs[`grad.${attributes.key}`] = slopes[i]!;
  expect(Object.keys(outputs).sort()).toEqual(Object.keys(one.outputs).sort());

  await using engine = await Engine.open({ device: "cpu", memory: "mmap" });
  const results = await engine.compile(outputs).run({ pixels, ids, ends });
  for (const [name, { atol }] of Object.entries(one.outputs)) {
    const expected = golden.output(one, name);
    expectClose(results[name]!.reshape(expected.dims), expected, atol!, name);
  }
});
