/** @file The demo: one page that needs nothing else. */

import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { decodeImage } from "../src/image/index.js";
import { run, temporaryFolder } from "./cli.js";

it("makes one self-contained page of true pictures", { timeout: 180_000 }, async () => {
  const folder = temporaryFolder();
  const { status, stdout, stderr } = await run(["demo", "-q", "-o", "tour"], { cwd: folder });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  const file = path.join(folder, "tour", "index.html");
  expect(stdout.split("\n").slice(0, 2)).toEqual([
    file,
    expect.stringMatching(
      /^Computed in \d+\.\d s on \d+ threads?: \d+ of 14 questions .* \d+ of 28 pairs .* took \d+ ms\.$/,
    ),
  ]);
  expect(readdirSync(path.dirname(file))).toEqual(["index.html"]);

  const page = readFileSync(file, "utf8");
  const sources = [...page.matchAll(/\b(?:src|href)="([^"]*)"/g)].map((match) => match[1]!);
  for (const source of sources) expect(source.slice(0, 30)).toMatch(/^(data:|#)/);
  const text = page.replace(/base64,[^"]*/g, "");
  expect(/url\(|@import|<script|undefined|NaN/.exec(text)?.[0]).toBeUndefined();
  const links = [...page.matchAll(/href="#([^"]+)"/g)].map((match) => match[1]!);
  for (const id of links) expect(text).toContain(`id="${id}"`);

  const told = [...text.matchAll(/<span class="answer">([^<]+) <b class="(yes|no)"/g)];
  expect(told).toHaveLength(14);
  expect(told.filter(([, , mark]) => mark === "yes").length).toBeGreaterThan(9);

  const images = [...page.matchAll(/<img([^>]*)>/g)].map((match) => match[1]!);
  expect(images.length).toBeGreaterThan(60);
  for (const image of images) {
    const { width, height } = await decodeImage(Buffer.from(/base64,([^"]*)"/.exec(image)![1]!, "base64"));
    const attributes = image.replace(/base64,[^"]*/, "");
    expect(attributes).toContain(`width="${width}" height="${height}"`);
    expect(attributes).toMatch(/ alt="[^"]+"/);
  }
  expect(page.length).toBeLessThan(4_000_000);
});
