/** @file `diffsight diorama` as a user runs it. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { decodeImage } from "../src/image/index.js";
import { run, temporaryFolder } from "./cli.js";

const folder = temporaryFolder();
const at = (...parts: string[]) => path.join(folder, ...parts);
const linesOf = (name: string) =>
  readFileSync(at(name, "scenes.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("diorama", () => {
  it("writes pictures, masks, a sheet and a line a scene", async () => {
    const flags = ["--count", "6", "--masks", "--sheet", "--json", "--size", "48"];
    const { status, stdout, stderr } = await run(["diorama", "-o", at("world"), ...flags, "-q"]);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      scenes: at("world", "scenes.jsonl"),
      pictures: 6,
      split: "train",
    });
    const lines = linesOf("world");
    expect(lines).toHaveLength(6);
    expect(existsSync(at("world", "sheet.png"))).toBe(true);
    for (const { image, mask, captions, objects, questions } of lines) {
      const picture = await decodeImage(at("world", image));
      expect([picture.width, picture.height]).toEqual([48, 48]);
      expect(captions).toEqual({ loose: expect.any(String), full: expect.any(String) });
      const seen = new Set((await decodeImage(at("world", mask))).data);
      objects.forEach(({ box, pixels }: { box: number[]; pixels: number }, i: number) => {
        expect(seen.has(i + 1) || pixels < 3).toBe(true);
        expect(box[0]).toBeLessThan(box[2]!);
      });
      for (const { options, answer, pattern, question } of questions) {
        expect(options).toHaveLength(2);
        expect([0, 1]).toContain(answer);
        expect([typeof pattern, typeof question]).toEqual(["string", "string"]);
      }
    }
    expect(readdirSync(at("world")).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("gives the same bytes again, and the same scene from another start", async () => {
    const make = (name: string, ...flags: string[]) => run(["diorama", "-o", at(name), "-q", ...flags]);
    await make("one", "--count", "3", "--seed", "5");
    await make("again", "--count", "1", "--seed", "5", "--from", "2");
    expect(linesOf("again")[0]).toEqual(linesOf("one")[2]);
    const file = linesOf("again")[0].image;
    expect(readFileSync(at("again", file))).toEqual(readFileSync(at("one", file)));
  });

  it("makes twins that share a question and differ in its answer", async () => {
    const flags = ["--twins", "--split", "unseen", "--count", "3"];
    expect(await run(["diorama", "-o", at("twins"), ...flags, "-q"])).toMatchObject({
      status: 0,
      stderr: "",
    });
    const lines = linesOf("twins");
    expect(lines.map(({ pair }) => pair)).toEqual([0, 0, 1, 1, 2, 2]);
    for (let i = 0; i < lines.length; i += 2) {
      const [one, other] = [lines[i].questions[0], lines[i + 1].questions[0]];
      expect(other).toEqual({ ...one, answer: 1 - one.answer });
    }
  });

  it.each<[string, string[], RegExp]>([
    ["no folder", [], /required option '-o, --out <folder>'/],
    ["no count", ["-o", "x", "--count", "0"], /--count goes from 1 to 100000, not 0/],
    ["a size too small", ["-o", "x", "--size", "8"], /--size goes from 16 to 1024, not 8/],
    ["a negative seed", ["-o", "x", "--seed", "-1"], /--seed goes from 0 to/],
    ["an unknown split", ["-o", "x", "--split", "dev"], /train, validation, test, unseen/],
    ["an unknown pattern", ["-o", "x", "--pattern", "smell"], /orientation, presence, state/],
    [
      "no such unseen pattern",
      ["-o", at("y"), "--split", "unseen", "--pattern", "text"],
      /unseen asks about/,
    ],
  ])("refuses %s", async (_, flags, text) => {
    const { status, stdout, stderr } = await run(["diorama", ...flags]);
    expect(stderr).toMatch(text);
    expect(stderr).toMatch(/^diffsight: /);
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });

  it("fails where it cannot write", async () => {
    const { status, stderr } = await run(["diorama", "-o", path.join(at("world"), "sheet.png")]);
    expect(stderr).toMatch(/could not be written/);
    expect(status).toBe(1);
  });
});
