/** @file The guide's own fusion, as it is written there. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, expect, it } from "vitest";
import { input } from "../src/graph/index.js";
import { initialise, LayoutBuilder } from "../src/models/index.js";
import { TorchGenerator } from "../src/tensor/index.js";
import { scopeOf } from "../src/training/index.js";
import type { FusionKind } from "../src/vlm/fusion/fusion.js";
import { evaluate } from "./reference/evaluate.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const scratch = mkdtempSync(path.join(tmpdir(), "diffsight-extending-"));
afterAll(() => rmSync(scratch, { recursive: true }));

/** The guide's program as a file of `src/vlm/fusion`. */
async function guidesFusion(): Promise<FusionKind> {
  const guide = readFileSync(path.join(root, "docs/extending.md"), "utf8");
  const [, program] = /```ts\n([\s\S]*?)```/.exec(guide)!;
  const from = (name: string) => {
    const here = path.resolve(root, "src/vlm/fusion", name.replace(/js$/, "ts"));
    return JSON.stringify(name.startsWith(".") ? here : import.meta.resolve(name));
  };
  const file = path.join(scratch, "product.ts");
  writeFileSync(
    file,
    program!.replaceAll(/from "([^"]+)"/g, (_, name: string) => `from ${from(name)}`),
  );
  const { product } = await import(/* @vite-ignore */ pathToFileURL(file).href);
  return product;
}

it("multiplies what two encoders see, place by place, projected to one width", async () => {
  const kind = await guidesFusion();
  const made = kind.make(kind.schema.parse({ type: "product", encoders: ["clip", "sd"], width: 3 }));
  const shapes = [
    { name: "clip", tokens: 4, width: 2, grid: [2, 2] as const },
    { name: "sd", tokens: 4, width: 5, grid: [2, 2] as const },
  ];
  expect(made.shape(shapes)).toEqual({ tokens: 4, width: 3, grid: [2, 2] });

  const layers = new LayoutBuilder();
  made.layout!(layers, "fusion", shapes);
  const random = new TorchGenerator(1);
  const weights = initialise(layers.build(), random);
  const feeds = Object.fromEntries(
    shapes.map(({ name, tokens, width }) => [name, random.randn([1, tokens, width])]),
  );
  const streams = shapes.map((one) => ({ ...one, value: input(one.name, feeds[one.name]!.dims) }));
  const fused = made.fuse(scopeOf(weights).at("fusion"), streams, {});
  expect(fused.dims).toEqual([1, 4, 3]);

  const numbers = (name: string) => weights.get(`fusion.${name}`)!.toFloat32();
  const projected = (name: string, width: number, token: number, channel: number) => {
    const seen = feeds[name]!.toFloat32().subarray(token * width, (token + 1) * width);
    const row = numbers(`${name}.weight`).subarray(channel * width, (channel + 1) * width);
    return seen.reduce((total, value, i) => total + value * row[i]!, numbers(`${name}.bias`)[channel]!);
  };
  const found = evaluate({ fused }, feeds).fused!.data;
  for (let token = 0; token < 4; token++)
    for (let channel = 0; channel < 3; channel++)
      expect(found[token * 3 + channel]).toBeCloseTo(
        projected("clip", 2, token, channel) * projected("sd", 5, token, channel),
        4,
      );
});
