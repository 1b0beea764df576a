/** @file Tests of the IMAGE arguments. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expandImages, globExpression } from "./images.js";

describe("patterns", () => {
  it.each<[string, string[], string[]]>([
    ["*.png", ["a.png", "ä b.png"], ["a.jpg", ".a.png", "b/a.png", "apng"]],
    ["a?.png", ["ab.png", "a..png"], ["a.png", "abc.png"]],
    ["[a-c]*.png", ["a.png", "cat.png"], ["dog.png", "A.png"]],
    ["[!a-c].png", ["d.png"], ["a.png"]],
    ["{cat,dog}s/*.{png,jpg}", ["cats/1.png", "dogs/x.jpg"], ["cat/1.png", "cats/1.gif", "cats/x/1.png"]],
    ["**/x.png", ["x.png", "a/x.png", "a/b/x.png"], ["ax.png", ".git/x.png"]],
    ["a/**", ["a/b.png", "a/b/c.png"], ["a", "b/a.png", "a/.b/c.png"]],
    ["a+(b).png", ["a+(b).png"], ["ab.png", "aab.png"]],
    [".*.png", [".a.png"], ["a.png"]],
  ])("%s", (glob, matching, other) => {
    const expression = globExpression(glob);
    for (const name of matching) expect(expression.test(name), name).toBe(true);
    for (const name of other) expect(expression.test(name), name).toBe(false);
  });

  it("match every plain name as itself", () => {
    const plain = fc.string({ unit: "grapheme", minLength: 1 }).filter((name) => !/[*?[\]{}]/.test(name));
    fc.assert(
      fc.property(plain, (name) => {
        expect(globExpression(name).test(name)).toBe(true);
      }),
    );
  });

  it("either become an expression or say what is open", () => {
    const signs = fc.string({ unit: fc.constantFrom(..."ab*?[]{},!^-/.\\("), maxLength: 12 });
    fc.assert(
      fc.property(signs, (glob) => {
        try {
          expect(globExpression(glob)).toBeInstanceOf(RegExp);
        } catch (error) {
          expect(error).toMatchObject({ code: "PATTERN" });
        }
      }),
      { numRuns: 10_000 },
    );
  });
});

describe("image arguments", () => {
  const folder = mkdtempSync(join(tmpdir(), "diffsight-images-"));
  beforeAll(() => {
    for (const file of ["cat.png", "cat.jpg", "sub/dog.JPEG", "sub/deep/[1].webp", "notes.txt"]) {
      mkdirSync(join(folder, file, ".."), { recursive: true });
      writeFileSync(join(folder, file), "");
    }
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const named = async (...args: string[]) => (await expandImages(args)).map(({ name }) => name);

  it("are named below their folder, with the ending where two would be equal", async () => {
    expect(await named(folder)).toEqual(["cat.jpg", "cat.png", "sub/deep/[1]", "sub/dog"]);
  });

  it("are taken once", async () => {
    const cat = join(folder, "cat.png");
    expect(await named(cat, join(folder, "*.png"), join(folder, "sub", "..", "cat.png"))).toEqual(["cat"]);
  });

  it("may be a file whose name looks like a pattern, an address, or stdin", async () => {
    expect(await named(join(folder, "sub/deep/[1].webp"))).toEqual(["[1]"]);
    expect(await named("https://example.org/a/photo%20x.jpg?w=3", "-")).toEqual(["photo_20x", "stdin"]);
  });

  it("say when there is nothing", async () => {
    await expect(named(join(folder, "*.gif"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await expect(named(join(folder, "sub", "deep", ".."))).resolves.toHaveLength(2);
  });
});
