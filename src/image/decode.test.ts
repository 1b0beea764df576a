/** @file Images from everywhere, in every format; and what is said when they cannot be read. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DiffsightError } from "../tensor/index.js";
import { decodeImage } from "./decode.js";
import type { RgbImage } from "./image.js";
import { encodePng } from "./png-encode.js";

/** A smooth picture, so that lossy formats come close. */
const [width, height] = [24, 16];
const picture: RgbImage = {
  width,
  height,
  data: Uint8Array.from(
    { length: width * height * 3 },
    (_, i) => [(i % 72) * 3, Math.floor(i / 72) * 12, 90][i % 3]!,
  ),
};
const png = encodePng(picture);
const source = () => sharp(picture.data, { raw: { width, height, channels: 3 } });

const folder = mkdtempSync(join(tmpdir(), "diffsight-images-"));
const path = join(folder, "picture.png");
const encoded: Record<string, Uint8Array> = {};
let server: Server;
let address: string;

beforeAll(async () => {
  writeFileSync(path, png);
  encoded.jpeg = await source().jpeg({ quality: 95, chromaSubsampling: "4:4:4" }).toBuffer();
  encoded.progressive = await source().jpeg({ quality: 95, progressive: true }).toBuffer();
  encoded.webp = await source().webp({ lossless: true }).toBuffer();
  encoded.avif = await source().avif({ quality: 90, chromaSubsampling: "4:4:4" }).toBuffer();
  encoded.tiff = await source().tiff({ compression: "lzw" }).toBuffer();
  encoded.gif = await source().gif({ dither: 0 }).toBuffer();
  server = createServer((request, response) => {
    if (request.url === "/picture.png") response.end(png);
    else if (request.url === "/endless") {
      const chunk = Buffer.alloc(1 << 16);
      const pump = () => !response.destroyed && response.write(chunk, pump);
      pump();
    } else if (request.url === "/never") response.writeHead(200).flushHeaders();
    else response.writeHead(request.url === "/broken" ? 500 : 404).end();
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

function worst(actual: RgbImage, expected: RgbImage): number {
  expect([actual.width, actual.height]).toEqual([expected.width, expected.height]);
  return actual.data.reduce((most, byte, i) => Math.max(most, Math.abs(byte - expected.data[i]!)), 0);
}

const refusal = (code: string, message: RegExp) =>
  expect.objectContaining({ name: "DiffsightError", code, message: expect.stringMatching(message) });

/** One row of 16-bit samples as an uncompressed TIFF. */
function tiff16(samples: number[], channels: 1 | 3): Uint8Array {
  const tags = [
    [256, samples.length / channels],
    [257, 1],
    [258, 16],
    [259, 1],
    [262, channels === 3 ? 2 : 1],
    [273, 8],
    [277, channels],
    [278, 1],
    [279, samples.length * 2],
  ] as const;
  const shorts = [0x4949, 42, 8 + samples.length * 2, 0, ...samples, tags.length];
  for (const [tag, value] of tags) {
    // Bits a sample: one number, which would have to lie elsewhere for three; readers take it for all.
    shorts.push(tag, 3, 1, 0, value, 0);
  }
  return new Uint8Array(Uint16Array.from([...shorts, 0, 0]).buffer);
}

describe("an image can be", () => {
  it.each([
    ["a path", () => path],
    ["a file's URL", () => pathToFileURL(path)],
    ["an address", () => new URL(`${address}/picture.png`)],
    ["a data address", () => new URL(`data:image/png;base64,${Buffer.from(png).toString("base64")}`)],
    ["a Blob", () => new Blob([png as Uint8Array<ArrayBuffer>])],
    ["bytes", () => png],
    ["a Buffer's slice", () => Buffer.from([0, ...png]).subarray(1)],
    ["raw pixels", () => ({ ...picture, channels: 3 as const })],
  ])("%s", async (_, input) => {
    expect(await decodeImage(input())).toEqual(picture);
  });

  it("raw pixels of 1, 2 and 4 channels", async () => {
    const raw = (channels: 1 | 2 | 4, ...data: number[]) =>
      decodeImage({ width: 2, height: 1, channels, data: Uint8Array.from(data) });
    expect([...(await raw(1, 5, 6)).data]).toEqual([5, 5, 5, 6, 6, 6]);
    expect([...(await raw(2, 5, 0, 6, 0)).data]).toEqual([5, 5, 5, 6, 6, 6]);
    expect([...(await raw(4, 1, 2, 3, 0, 4, 5, 6, 0)).data]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("nothing else", async () => {
    const data = new Uint8Array(5);
    await expect(decodeImage(null as never)).rejects.toThrow(refusal("IMAGE_INPUT", /not null/));
    await expect(decodeImage({ data, width: 2 } as never)).rejects.toThrow(
      refusal("IMAGE_INPUT", /raw pixels/),
    );
    const raw = { data, width: 1, height: 1, channels: 3 as const };
    await expect(decodeImage(raw)).rejects.toThrow(refusal("SHAPE", /1 x 1 x 3 = 3 bytes are needed, not 5/));
    await expect(decodeImage({ ...raw, channels: 5 as 4 })).rejects.toThrow(refusal("SHAPE", /not 5/));
  });
});

describe("every format gives the picture back", () => {
  it.each([
    ["webp", 0],
    ["tiff", 0],
    ["gif", 16],
    ["jpeg", 4],
    ["progressive", 12],
    ["avif", 4],
  ])("%s, within %d", async (format, levels) => {
    expect(worst(await decodeImage(encoded[format]!), picture)).toBeLessThanOrEqual(levels);
  });

  it("16-bit TIFF: colour keeps its high byte, grey is clipped", async () => {
    const colour = await decodeImage(tiff16([0x1234, 0x00ff, 0xff00, 0x0100, 0x8000, 0xffff], 3));
    expect([...colour.data]).toEqual([0x12, 0, 0xff, 1, 0x80, 0xff]);
    const grey = await decodeImage(tiff16([0, 7, 255, 256, 300, 65535], 1));
    expect([...grey.data].filter((_, i) => i % 3 === 0)).toEqual([0, 7, 255, 255, 255, 255]);
  });

  it("CMYK is converted plainly, as Pillow does", async () => {
    const file = await source().toColourspace("cmyk").tiff().toBuffer();
    const { data } = await sharp(file, { ignoreIcc: true })
      .pipelineColourspace("cmyk")
      .toColourspace("cmyk")
      .raw()
      .toBuffer({ resolveWithObject: true });
    const image = await decodeImage(file);
    for (let i = 0; i < width * height; i++) {
      const light = 255 - data[i * 4 + 3]!;
      const red = light - Math.round((data[i * 4]! * light) / 255);
      expect(image.data[i * 3]).toBe(red);
    }
  });

  it("colour profiles are ignored, alpha dropped without blending", async () => {
    const profiled = await source()
      .withIccProfile("p3", { attach: true })
      .webp({ lossless: true })
      .toBuffer();
    const plain = await sharp(profiled, { ignoreIcc: true }).removeAlpha().raw().toBuffer();
    expect([...(await decodeImage(profiled)).data]).toEqual([...plain]);
    const clear = await source().ensureAlpha(0).webp({ lossless: true, exact: true }).toBuffer();
    expect(await decodeImage(clear)).toEqual(picture);
  });

  it.each(["jpeg", "webp", "tiff"] as const)("%s is turned as EXIF says", async (format) => {
    const file = await source()
      .withMetadata({ orientation: 6 })
      .toFormat(format, { lossless: true })
      .toBuffer();
    const turned = await decodeImage(file);
    expect([turned.width, turned.height]).toEqual([height, width]);
    // The top right corner was the top left one.
    expect(turned.data[(height - 1) * 3]).toBeLessThan(12);
    expect(turned.data[(width - 1) * height * 3]).toBeGreaterThan(190);
  });

  it("an animation gives its first picture", async () => {
    const frames = Buffer.concat([picture.data, new Uint8Array(picture.data.length)]);
    const options = { raw: { width, height: height * 2, channels: 3 as const, pageHeight: height } };
    const file = await sharp(frames, options).webp({ lossless: true }).toBuffer();
    expect((await sharp(file).metadata()).pages).toBe(2);
    expect(await decodeImage(file)).toEqual(picture);
  });
});

describe("what cannot be read is named, with the reason", () => {
  const jpegCut = () => encoded.jpeg!.subarray(0, encoded.jpeg!.length * 0.6);

  it.each([
    ["a missing file", () => "no/such.png", "FILE_NOT_FOUND", /"no\/such.png": there is no such file/],
    ["a folder", () => folder, "FILE_UNREADABLE", /folder/],
    ["a missing address", () => new URL(`${address}/no`), "FILE_NOT_FOUND", /\/no": the server answered 404/],
    ["a server's failure", () => new URL(`${address}/broken`), "NETWORK", /answered 500/],
    [
      "no server",
      () => new URL("http://127.0.0.1:1/x.png"),
      "NETWORK",
      /127.0.0.1:1\/x.png": it cannot be fetched/,
    ],
    ["an empty file", () => new Uint8Array(), "IMAGE_BROKEN", /from bytes: it is empty/],
    ["text", () => new Blob(["hello"]), "IMAGE_UNSUPPORTED", /from a Blob: it is not an image/],
    ["a named file of text", () => new File(["hello"], "a.jpg"), "IMAGE_UNSUPPORTED", /"a.jpg"/],
    ["a data address", () => new URL("data:,hello"), "IMAGE_UNSUPPORTED", /from a data: address/],
    ["a JPEG cut in the middle", jpegCut, "IMAGE_BROKEN", /the JPEG is cut off/],
    ["a WebP cut off", () => encoded.webp!.subarray(0, 50), "IMAGE_BROKEN", /cannot be decoded as WebP/],
    ["an AVIF cut off", () => encoded.avif!.subarray(0, -9), "IMAGE_BROKEN", /cannot be decoded as AVIF/],
    ["a PNG cut off", () => png.subarray(0, -20), "IMAGE_BROKEN", /it is cut off/],
  ])("%s", async (_, input, code, message) => {
    await expect(decodeImage(input())).rejects.toThrow(refusal(code, message));
    await expect(decodeImage(input())).rejects.toMatchObject({ misuse: false });
  });

  it("by another name when asked to", async () => {
    const options = { name: "number 7 of the batch" };
    await expect(decodeImage(new Uint8Array(), options)).rejects.toThrow(
      "Cannot read the image number 7 of the batch",
    );
  });

  it("a JPEG whose end was cut and mended", async () => {
    const mended = Buffer.concat([jpegCut(), Buffer.from([0xff, 0xd9])]);
    await expect(decodeImage(mended)).rejects.toThrow(refusal("IMAGE_BROKEN", /cannot be decoded as JPEG/));
  });
});

describe("limits", () => {
  const header = (w: number, h: number) => {
    const file = png.slice();
    new DataView(file.buffer).setUint32(16, w);
    new DataView(file.buffer).setUint32(20, h);
    return file;
  };

  it("hold before memory is spent", async () => {
    const before = process.memoryUsage().arrayBuffers;
    const huge = decodeImage(header(60_000, 60_000));
    await expect(huge).rejects.toThrow(
      refusal("IMAGE_TOO_LARGE", /60000 x 60000 = 3600000000 .* at most 100000000/),
    );
    await expect(decodeImage(header(2 ** 31, 1))).rejects.toThrow(
      refusal("IMAGE_TOO_LARGE", /sides of 1000000/),
    );
    const jpeg = Buffer.from(encoded.jpeg!);
    const frame = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
    jpeg.writeUInt16BE(60_000, frame + 5);
    jpeg.writeUInt16BE(60_000, frame + 7);
    await expect(decodeImage(jpeg)).rejects.toThrow(refusal("IMAGE_TOO_LARGE", /60000 x 60000/));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000);
  });

  it("can be set", async () => {
    const limits = { pixels: width * height - 1 };
    await expect(decodeImage(png, { limits })).rejects.toThrow(refusal("IMAGE_TOO_LARGE", /at most 383/));
    await expect(decodeImage(encoded.gif!, { limits })).rejects.toThrow(
      refusal("IMAGE_TOO_LARGE", /at most 383/),
    );
    expect(await decodeImage(png, { limits: { pixels: width * height } })).toEqual(picture);
  });

  it.each([
    ["bytes", () => png],
    ["a Blob", () => new Blob([png as Uint8Array<ArrayBuffer>])],
    ["a path", () => path],
    ["an address", () => new URL(`${address}/picture.png`)],
    ["an address without an end", () => new URL(`${address}/endless`)],
  ])("hold for the encoded size of %s", async (_, input) => {
    const limits = { bytes: png.length - 1 };
    await expect(decodeImage(input(), { limits })).rejects.toThrow(refusal("IMAGE_TOO_LARGE", /bytes/));
  });

  it("end with the signal", async () => {
    const signal = AbortSignal.timeout(50);
    await expect(decodeImage(new URL(`${address}/never`), { signal })).rejects.toThrow(
      refusal("ABORTED", /cancelled/),
    );
    const gone = AbortSignal.abort();
    await expect(decodeImage(path, { signal: gone })).rejects.toThrow(refusal("ABORTED", /cancelled/));
    await expect(decodeImage(png, { signal: gone })).rejects.toThrow(refusal("ABORTED", /cancelled/));
  });
});

it("damaged files of every format end in an image or a clear error (1,200 mutations)", async () => {
  const codes = new Set(["IMAGE_BROKEN", "IMAGE_UNSUPPORTED", "IMAGE_TOO_LARGE"]);
  const seeds = [...Object.values(encoded), png];
  const edit = fc.record({
    seed: fc.nat(seeds.length - 1),
    bytes: fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { maxLength: 4 }),
    cut: fc.option(fc.nat(800), { freq: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(edit, async ({ seed, bytes, cut }) => {
      const file = Uint8Array.from(seeds[seed]!).slice(0, cut ?? undefined);
      for (const [at, value] of bytes) file[at % Math.max(1, file.length)] = value;
      try {
        const image = await decodeImage(file, { limits: { pixels: 1e6 } });
        expect(image.data.length).toBe(image.width * image.height * 3);
        expect(image.width * image.height).toBeLessThanOrEqual(1e6);
      } catch (error) {
        if (!(error instanceof DiffsightError && codes.has(error.code))) throw error;
      }
    }),
    { numRuns: 1200 },
  );
});
