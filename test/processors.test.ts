/** @file Where a folder says how its pictures are prepared, and what each of its readers makes of it. */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { blankImage, encodePng, type RgbImage } from "../src/image/index.js";
import { readVisionEncoder } from "../src/models/index.js";
import { producer as features } from "../src/training/producers/features.js";
import { EncoderOpener, encoderSchema, openLlava, readImageProcessor } from "../src/vlm/index.js";
import { openModel, type ProgressEvent } from "../src/weights/index.js";
import { goldenPath } from "./golden.js";
import { clip } from "./training/small-vlm.js";
import { talkStore } from "./training/talk-store.js";

const scratch = mkdtempSync(path.join(tmpdir(), "diffsight-processors-"));
const engine = await Engine.open({ device: "cpu", memory: "mmap", threads: 1, host: "here" });
afterAll(async () => {
  await engine.dispose();
  rmSync(scratch, { recursive: true });
});

const half = { image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };
const { image_size: side } = JSON.parse(readFileSync(path.join(clip, "config.json"), "utf8"));
const sizes = (n: number) => ({ size: { shortest_edge: n }, crop_size: { height: n, width: n } });
const sized = sizes(side);
/** For the golden LLaVA, whose encoder is another. */
const llavaSized = sizes(28);
const encoder = readVisionEncoder(JSON.parse(readFileSync(path.join(clip, "config.json"), "utf8")));

let folders = 0;
/** A copy of a model with these files about its pictures, and no others. */
function written(model: string, files: Record<string, object>): string {
  const folder = path.join(scratch, `${folders++}`);
  cpSync(model, folder, { recursive: true });
  rmSync(path.join(folder, "preprocessor_config.json"), { force: true });
  for (const [name, json] of Object.entries(files))
    writeFileSync(path.join(folder, name), JSON.stringify(json));
  return folder;
}

/** As transformers 5 saves it. */
const nested = (fields: object) => ({
  "processor_config.json": { image_processor: { image_processor_type: "CLIPImageProcessor", ...fields } },
});

const wide: RgbImage = blankImage(100, 40);
for (let i = 0; i < wide.data.length; i++) wide.data[i] = (i * 13) % 255;

async function seen(folder: string, description: object = {}): Promise<number[]> {
  const opener = new EncoderOpener(engine, { device: "cpu" });
  const described = encoderSchema.parse({ kind: "vision", model: folder, fit: "crop", ...description });
  const opened = await opener.open(described, { source: folder, revision: undefined });
  const told = { prompt: "", guidance: 0, reason: "none" } as const;
  return [...(await opened.see({ image: wide, key: "wide" }, told)).toFloat32()];
}

describe("a folder's image processor", () => {
  const read = async (files: Record<string, object>) => {
    const events: ProgressEvent[] = [];
    const folder = await openModel(written(clip, files));
    const { config, stated } = await readImageProcessor(folder, encoder, (event) => events.push(event));
    return { config, stated, events };
  };

  it("is preprocessor_config.json, or what processor_config.json holds", async () => {
    for (const files of [
      nested({ ...sized, ...half }),
      { "preprocessor_config.json": { ...sized, ...half } },
    ])
      expect(await read(files)).toMatchObject({ config: half, events: [] });
  });

  it("is the newer one of two, as transformers 5 takes it", async () => {
    const both = { ...nested({ ...sized, ...half }), "preprocessor_config.json": sized };
    expect(await read(both)).toMatchObject({ config: half });
    const older = {
      "processor_config.json": { patch_size: 7 },
      "preprocessor_config.json": { ...sized, ...half },
    };
    expect(await read(older)).toMatchObject({ config: half });
  });

  it("is the usual one of its kind where nothing is said, which is told", async () => {
    const { config, stated, events } = await read({ "processor_config.json": { patch_size: 7 } });
    expect(config).toEqual(encoder.preprocessor);
    expect(stated).toBeUndefined();
    expect(events).toMatchObject([
      { status: "notice", message: expect.stringMatching(/does not say how .* usual for clip/) },
    ]);
  });

  it("is refused by its file and field", async () => {
    await expect(read({ "processor_config.json": { image_processor: 3 } })).rejects.toThrow(
      /image_processor of processor_config\.json is no object/,
    );
  });

  it("counts in an encoder of a description, in a LLaVA, and in a store of features", async () => {
    const files = nested({ ...sized, ...half });
    const plain = written(clip, { "preprocessor_config.json": sized });
    expect(await seen(written(clip, files))).not.toEqual(await seen(plain));
    const own = nested({ ...llavaSized, ...half });
    const llava = await openLlava(await openModel(written(goldenPath("pipeline-llava"), own)));
    expect(llava.vision.preprocessor).toMatchObject(half);
    const [nestedly, other] = [await featuresOf(written(clip, files)), await featuresOf(plain)];
    expect(nestedly.features).not.toEqual(other.features);
    expect(nestedly.warnings).toEqual([]);
    expect((await featuresOf(written(clip, {}))).warnings).toEqual([expect.stringMatching(/usual for clip/)]);
  });
});

describe("pictures of an encoder", () => {
  const folder = written(clip, { "preprocessor_config.json": sized });

  it("of a size of their own are cropped as those of the processor's own size", async () => {
    const cropped = await seen(folder);
    expect(await seen(folder, { size: side })).toEqual(cropped);
    expect(await seen(folder, { fit: "squash" })).not.toEqual(cropped);
  });

  it("that do not come to the network's size name the fields of their processor", async () => {
    const uncropped = written(clip, { "preprocessor_config.json": { ...sized, do_center_crop: false } });
    await expect(seen(uncropped)).rejects.toMatchObject({
      code: "FIT",
      message: expect.stringMatching(/"do_center_crop":false/),
    });
    await expect(seen(uncropped, { size: side })).rejects.toMatchObject({ code: "FIT" });
    expect(await seen(uncropped, { fit: "pad" })).toHaveLength((await seen(folder)).length);
  });

  it("of a LLaVA are filled up where its processor says so, unless they are to be cropped", async () => {
    const files = nested({ ...llavaSized, image_processor_type: "LlavaImageProcessor", do_pad: true });
    const at = written(goldenPath("pipeline-llava"), files);
    expect((await openLlava(await openModel(at))).vision.fit).toBe("pad");
    expect(
      (await openLlava(await openModel(written(goldenPath("pipeline-llava"), nested(llavaSized))))).vision
        .fit,
    ).toBe("crop");
  });
});

/** What the producer of features gives of one row. */
async function featuresOf(model: string): Promise<{ warnings: readonly string[]; features: number[] }> {
  const images = [path.join(scratch, "wide.png")];
  writeFileSync(images[0]!, encodePng(wide));
  using pictures = await talkStore(path.join(scratch, `${folders++}`), [
    { images, said: ["<image>", "stripes"] },
  ]);
  const config = features.config.parse({ encoder: "clip", model });
  const production = await features.open({ config, data: { pictures }, models: {} });
  const { columns } = await production.make(0, 1, () => {});
  await production.release?.();
  return { warnings: production.warnings ?? [], features: [...columns.features!.toFloat32()] };
}
