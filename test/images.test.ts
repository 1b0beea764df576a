/** @file Decoding, resizing and processors against Pillow, transformers and diffusers. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import sharp from "sharp";
import { build, type Rolldown } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  clipImage,
  clipPixels,
  decodeImage,
  fitImage,
  fromVaePixels,
  padToSquare,
  type ResizeFilter,
  type RgbImage,
  readPreprocessorConfig,
  resize,
  vaePixels,
} from "../src/image/index.js";
import { Tensor } from "../src/tensor/index.js";
import { expectClose, Golden, type GoldenCase, goldenPath } from "./golden.js";

const golden = new Golden("images");
const images = new Map<string, RgbImage>();

beforeAll(async () => {
  for (const file of readdirSync(goldenPath("images", "images"))) {
    images.set(file, await decodeImage(goldenPath("images", "images", file)));
  }
});

/** The image that a reference function saw: for JPEG Pillow's own pixels, so that decoders do not differ. */
function image(file: string): RgbImage {
  const decoded = images.get(file)!;
  const entry = golden.case("rgb").outputs[file];
  return entry ? { ...decoded, data: golden.tensor(entry).data as Uint8Array } : decoded;
}

function pixels({ width, height, data }: RgbImage): Tensor {
  return new Tensor("u8", [height, width, 3], data);
}

const casesOf = (name: RegExp) => golden.cases.filter((one) => name.test(one.name));
const outputs = (one: GoldenCase) => Object.keys(one.outputs).map((name) => ({ name, one }));

describe("decoding to RGB as Pillow does", () => {
  it.each(outputs(golden.case("rgb")))("$name", ({ name, one }) => {
    const levels = name.endsWith(".jpg") ? 2 : 0;
    expectClose(pixels(images.get(name)!), golden.output(one, name), levels, name);
  });
});

describe("resizing as Pillow does, bit for bit", () => {
  const cases = casesOf(/^resize-.*-(BICUBIC|BILINEAR|LANCZOS)$/);
  it.each(cases.flatMap(outputs))("$one.name $name", ({ name, one }) => {
    const [width, height] = name.split("x").map(Number) as [number, number];
    const filter = one.args.resample.toLowerCase() as ResizeFilter;
    expectClose(pixels(resize(image(one.args.file), width, height, filter)), golden.output(one, name), 0);
  });

  it("grey images, channel by channel", () => {
    const one = golden.case("resize-L");
    const [width, height] = one.args.size;
    const { data } = resize(image(one.args.file), width, height, "bicubic");
    const grey = new Tensor(
      "u8",
      [height, width],
      data.filter((_, i) => i % 3 === 0),
    );
    expectClose(grey, golden.output(one, "grey"), 0);
  });
});

describe("CLIP's processor", () => {
  const config = (size: number) =>
    readPreprocessorConfig({ size: { shortest_edge: size }, crop_size: { height: size, width: size } });
  const flat = ({ dims, data }: Tensor) => new Tensor("f32", dims.slice(1), data);

  it.each(casesOf(/^clip-\d+$/).flatMap(outputs))("$one.name $name", ({ name, one }) => {
    const actual = clipPixels(image(name), config(one.args.size));
    expectClose(flat(actual), golden.output(one, name), 0);
  });

  it.each(outputs(golden.case("clip-224-u8")))("resizes and crops $name", ({ name, one }) => {
    expectClose(pixels(clipImage(image(name), config(one.args.size))), golden.output(one, name), 0);
  });

  it.each(outputs(golden.case("expand2square")))("pads $name to a square as LLaVA does", ({ name, one }) => {
    expectClose(pixels(padToSquare(image(name))), golden.output(one, name), 0);
  });

  it.each(outputs(golden.case("llava-pad-48")))("prepares $name for LLaVA", ({ name, one }) => {
    const actual = clipPixels(image(name), config(one.args.size), "pad");
    expectClose(flat(actual), golden.output(one, name), 0);
  });
});

describe("the VAE's processor", () => {
  it.each(casesOf(/^vae-\d+x\d+-/).flatMap(outputs))("$one.name $name", ({ name, one }) => {
    const filter = one.name.split("-")[2] as ResizeFilter;
    const { width, height } = one.args;
    const actual = vaePixels(fitImage(image(name), { width, height, fit: "squash", filter }));
    expectClose(actual.reshape(actual.dims.slice(1)), golden.output(one, name), 0);
  });

  it("takes an image at its own size, cut down to multiples of 8", () => {
    const one = golden.case("vae-native");
    const { width, height, ...rest } = image(one.args.file);
    const whole = { width, height, ...rest };
    const actual = vaePixels(resize(whole, width - (width % 8), height - (height % 8), "lanczos"));
    expectClose(actual.reshape(actual.dims.slice(1)), golden.output(one, one.args.file), 0);
  });

  it("turns decoded pictures into pixels", () => {
    const one = golden.case("vae-postprocess");
    for (const index of [0, 1]) {
      expectClose(pixels(fromVaePixels(golden.input(one, "x"), index)), golden.output(one, String(index)), 0);
    }
  });
});

it("every file of the goldens is an image that decodes from bytes alike", async () => {
  for (const [file, fromPath] of images) {
    const fromBytes = await decodeImage(readFileSync(goldenPath("images", "images", file)));
    expect(fromBytes, file).toEqual(fromPath);
  }
});

const browserPath = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";

describe.skipIf(!existsSync(browserPath))("in the browser (needs Chromium: apt-get install chromium)", () => {
  let browser: Browser;
  let page: Page;
  const files = new Map<string, Uint8Array | string>();

  beforeAll(async () => {
    const entry = fileURLToPath(new URL("../src/image/index.ts", import.meta.url));
    const [bundle] = (await build({
      configFile: false,
      logLevel: "error",
      resolve: { conditions: ["source", "browser", "import", "default"] },
      build: { write: false, lib: { entry, formats: ["es"], fileName: "image" } },
    })) as Rolldown.RolldownOutput[];
    files.set("/image.js", bundle!.output[0].code);
    browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
    page = await browser.newPage();
    await page.route("**/*", (route) => {
      const { pathname } = new URL(route.request().url());
      const body = files.get(pathname) ?? (pathname === "/" ? "" : undefined);
      const contentType = pathname.endsWith(".js") ? "text/javascript" : "text/html";
      return body === undefined
        ? route.fulfill({ status: 404 })
        : route.fulfill({ body: Buffer.from(body), contentType });
    });
    await page.goto("http://localhost/");
  });

  afterAll(() => browser?.close());

  /** decodeImage of the browser's bundle: the image, or the error's code and message. */
  function decodeInPage(path: string): Promise<RgbImage & { code: string; message: string }> {
    const script = `import("/image.js").then(({ decodeImage }) => decodeImage(${JSON.stringify(path)})).then(
      ({ width, height, data }) => ({ width, height, data: [...data] }),
      ({ code, message }) => ({ code, message }),
    )`;
    return page.evaluate(script) as ReturnType<typeof decodeInPage>;
  }

  it.each(outputs(golden.case("rgb")))("decodes $name as Pillow does", async ({ name, one }) => {
    files.set(`/${name}`, readFileSync(goldenPath("images", "images", name)));
    const { width, height, data } = await decodeInPage(`/${name}`);
    const levels = name.endsWith(".jpg") ? 2 : 0;
    expectClose(
      pixels({ width, height, data: Uint8Array.from(data) }),
      golden.output(one, name),
      levels,
      name,
    );
  });

  it("drops the alpha of a WebP without blending, and turns it as EXIF says", async () => {
    const { data, width, height } = images.get("gradient.png")!;
    const file = await sharp(data, { raw: { width, height, channels: 3 } })
      .ensureAlpha(0.1)
      .withMetadata({ orientation: 6 })
      .webp({ lossless: true, exact: true })
      .toBuffer();
    files.set("/clear.webp", file);
    const here = await decodeImage(file);
    expect([here.width, here.height]).toEqual([height, width]);
    const there = await decodeInPage("/clear.webp");
    expect({ ...there, data: Uint8Array.from(there.data) }).toEqual(here);
  });

  it("says what cannot be read", async () => {
    expect(await decodeInPage("/none.png")).toMatchObject({ code: "FILE_NOT_FOUND" });
    files.set("/cut.jpg", readFileSync(goldenPath("images", "images", "exif6.jpg")).subarray(0, 1200));
    expect(await decodeInPage("/cut.jpg")).toMatchObject({ code: "IMAGE_BROKEN" });
    files.set(
      "/cut.webp",
      Buffer.from("RIFF\xff\0\0\0WEBPVP8L\xff\0\0\0\x2f\x0f\0\x0f\0\0\0\0\0\0", "latin1"),
    );
    expect(await decodeInPage("/cut.webp")).toMatchObject({
      code: "IMAGE_BROKEN",
      message: 'Cannot read the image "/cut.webp": this browser cannot decode it as WebP.',
    });
  });
});
