/** @file The diorama's renderer: the same pixels on every host, masks and what is hidden, errors. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type * as room from "../src/diorama/index.js";
import { type Item, type Rendering, type Stage, World } from "../src/diorama/index.js";
import { type PackedMesh, readPack } from "../src/diorama/pack.js";
import { DiffsightError } from "../src/index.js";
import { bundle } from "./browser/bundle.js";
import { hasChromium, launch, needsChromium } from "./browser/chromium.js";
import { type Site, serve } from "./browser/site.js";

/** What the page's script leaves for `page.evaluate`. */
declare const diorama: typeof room;

const source = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const world = await World.open();

const camera = { eye: [0.1, 0.95, 2.6], target: [0, 0.37, 0], fov: 432 } as const;

function stage(items: Item[], rest: Partial<Stage> = {}): Stage {
  return { items, camera, panorama: "park", turn: 256, ...rest };
}

/** An item as large as given, in metres. */
function item(mesh: string, size: number, rest: Partial<Item> = {}): Item {
  return {
    mesh,
    position: [0, 0, 0],
    yaw: 0,
    scale: size / Math.max(...world.meshes.get(mesh)!.size),
    ...rest,
  };
}

const turns = (i: number) => (i * 700) % 4096;

/** Every mesh and every panorama once, with tints, rolls, signs and other cameras among them. */
const everything: Stage[] = [...world.panoramas.keys()].map((panorama, i) => {
  const names = [...world.meshes.keys()];
  const share = Math.ceil(names.length / world.panoramas.size);
  const items = names.slice(i * share, (i + 1) * share).map((mesh, k) =>
    item(mesh, 0.5, {
      position: [-0.9 + 0.3 * k, 0, (k % 3) * 0.4 - 0.4],
      yaw: turns(i + k),
      ...(k % 3 === 0 && { roll: turns(k) }),
      ...(k % 2 === 0 && { tint: [0.1 * (i % 9), 0.3, 0.6] as const }),
      ...(world.meshes.get(mesh)!.letters > 0 && { sign: "OPEN" }),
    }),
  );
  return stage(items, {
    panorama,
    turn: turns(i),
    camera: { eye: [0.3, 0.7 + 0.2 * (i % 5), 2.4], target: [0, 0.3, 0], fov: 432 + 31 * i },
  });
});

const sizes = (index: number) => (index % 4 === 3 ? 128 : 64);

function digest({ rgb, mask, visible }: Pick<Rendering, "rgb" | "mask" | "visible">): string {
  const hash = createHash("sha256").update(rgb).update(mask);
  return hash.update(JSON.stringify(visible)).digest("hex").slice(0, 16);
}

const renderAll = () => everything.map((one, i) => digest(world.render(one, { size: sizes(i) })));

describe("rendering", () => {
  it("gives pixels of its own for each stage, and the same again", () => {
    const first = renderAll();
    expect(new Set(first).size).toBe(everything.length);
    expect(renderAll()).toEqual(first);
    const backward = everything.map((_, i) => {
      const from = everything.length - 1 - i;
      return digest(world.render(everything[from]!, { size: sizes(from) }));
    });
    expect(backward.reverse()).toEqual(first);
  });

  it("has not changed: models were trained on these pixels", () => {
    const all = createHash("sha256").update(renderAll().join()).digest("hex");
    expect(all.slice(0, 16)).toBe("7540729409cce4f5");
  });

  it("calls no function that hosts may compute differently", () => {
    const folder = source("../src/diorama/");
    const exact = /^(floor|ceil|min|max|abs|sqrt|imul|fround|round|trunc|sign|clz32|PI)$/;
    for (const file of readdirSync(folder).filter(
      (name) => name.endsWith(".ts") && !name.includes(".test."),
    )) {
      const code = readFileSync(folder + file, "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
      const called = [...code.matchAll(/Math\.(\w+)/g)].map((match) => match[1]!);
      expect(
        called.filter((name) => !exact.test(name)),
        file,
      ).toEqual([]);
      expect(code, file).not.toMatch(/(?<!\b2) \*\* /);
    }
  });

  it("looks like a picture: the thing in its colour, the panorama around it", () => {
    const { rgb } = world.render(stage([item("chair", 1, { tint: [0.62, 0.02, 0.02] })]), { size: 64 });
    const { mask } = world.render(stage([item("chair", 1)]), { size: 64 });
    let red = 0;
    let pixels = 0;
    for (let i = 0; i < mask.length; i++) {
      if (mask[i] === 0) continue;
      pixels++;
      if (rgb[3 * i]! > 2 * rgb[3 * i + 1]! && rgb[3 * i]! > 2 * rgb[3 * i + 2]!) red++;
    }
    expect(pixels).toBeGreaterThan(300);
    expect(red / pixels).toBeGreaterThan(0.75);
  });

  it("darkens the floor where the sun does not reach", () => {
    const light = ({ rgb }: Rendering) => rgb.reduce((sum, value) => sum + value, 0);
    // The sun stands before the camera, so that shadows fall toward it.
    const against = (items: Item[]) => world.render(stage(items, { turn: 2304 }), { size: 64 });
    const empty = against([]);
    const held = against([item("box", 0.5, { position: [0, 0, 4] })]);
    expect(held.visible[0]!.pixels).toBe(0);
    expect(light(held)).toBeLessThanOrEqual(light(empty));
    const beside = against([item("box", 0.6)]);
    const darker = beside.mask.filter(
      (who, i) => who === 0 && beside.rgb[3 * i + 1]! < empty.rgb[3 * i + 1]! - 12,
    );
    expect(darker.length).toBeGreaterThan(30);
  });
});

describe("masks", () => {
  it("name what most of a pixel shows, and agree with what is visible", () => {
    const { mask, visible } = world.render(
      stage([item("ball", 0.5, { position: [-0.5, 0, 0] }), item("box", 0.5, { position: [0.5, 0, 0] })]),
      { size: 64 },
    );
    for (const [i, { box, pixels, unoccluded }] of visible.entries()) {
      const own = Array.from(mask.keys()).filter((at) => mask[at] === i + 1);
      expect(Math.abs(own.length - pixels)).toBeLessThan(0.1 * pixels);
      expect(unoccluded).toBe(pixels);
      const [left, top, right, bottom] = box;
      expect(
        own.every((at) => at % 64 >= left - 1 && at % 64 < right && at >> 6 >= top - 1 && at >> 6 < bottom),
      ).toBe(true);
    }
    expect(visible[0]!.box[2]).toBeLessThan(visible[1]!.box[0]);
  });

  it("tell how much of a thing others hide", () => {
    const behind = item("man", 1, { position: [0, 0, -0.4] });
    const alone = world.render(stage([behind]), { size: 64 }).visible[0]!;
    const [hidden, front] = world.render(stage([behind, item("box", 0.9, { position: [0, 0, 0.3] })]), {
      size: 64,
    }).visible as [room.Sight, room.Sight];
    expect(hidden.unoccluded).toBe(alone.pixels);
    expect(hidden.pixels).toBeLessThan(0.7 * alone.pixels);
    expect(front.pixels).toBe(front.unoccluded);
  });

  it("are the same in every light and colour", () => {
    const seen = ["park", "hall"].map(
      (panorama) => world.render(stage([item("chair", 1, { yaw: 300 })], { panorama }), { size: 64 }).mask,
    );
    expect(seen[0]).toEqual(seen[1]);
  });
});

describe("placing", () => {
  const boxOf = (one: Item, size = 128) => world.render(stage([one]), { size }).visible[0]!.box;

  it("turns a quarter to the right", () => {
    const [toward, right] = [0, 1024].map((yaw) => boxOf(item("car", 1, { yaw })));
    expect(right![2] - right![0]).toBeGreaterThan(1.5 * (toward![2] - toward![0]));
    // The bonnet is lower than the cabin: less of the picture's upper half is covered on the side it faces.
    const { mask } = world.render(stage([item("truck", 1, { yaw: 1024 })]), { size: 64 });
    const { mask: mirrored } = world.render(stage([item("truck", 1, { yaw: 3072 })]), { size: 64 });
    expect(mask).not.toEqual(mirrored);
  });

  it("lays a rolled thing on the floor", () => {
    const upright = boxOf(item("man", 1));
    const lying = boxOf(item("man", 1, { roll: 1024 }));
    expect(upright[3] - upright[1]).toBeGreaterThan(upright[2] - upright[0]);
    expect(lying[3] - lying[1]).toBeLessThan(lying[2] - lying[0]);
    expect(Math.abs(upright[3] - lying[3])).toBeLessThan(12);
  });

  it("puts a thing on a table's top", () => {
    const table = item("table", 1, { yaw: 300, position: [0.1, 0, 0.2] });
    const top = world.attached(table, "top");
    expect(top[1]).toBeCloseTo(world.meshes.get("table")!.size[1] * table.scale, 2);
    expect(() => world.attached(table, "head")).toThrow(/no point "head": it has top/);
  });
});

describe("what cannot be drawn", () => {
  const code = (work: () => unknown) => {
    try {
      work();
    } catch (error) {
      expect(error).toBeInstanceOf(DiffsightError);
      expect((error as DiffsightError).misuse).toBe(true);
      return `${(error as DiffsightError).code}: ${(error as Error).message}`;
    }
    return "";
  };
  const one = (rest: Partial<Item>) => code(() => world.render(stage([item("box", 0.5, rest)])));

  it("is refused with what is allowed", () => {
    expect(one({ mesh: "dragon" })).toMatch(/UNKNOWN_MESH: .*"dragon".*barrel, .*truck/);
    expect(code(() => world.render(stage([], { panorama: "moon" })))).toMatch(
      /UNKNOWN_PANORAMA: .*"moon".*park/,
    );
    for (const size of [15, 1025, 64.5, Number.NaN]) {
      expect(code(() => world.render(stage([]), { size }))).toMatch(/STAGE: .*16 to 1024/);
    }
    expect(one({ position: [0, Number.NaN, 0] })).toMatch(/STAGE: .*finite/);
    expect(one({ scale: 0 })).toMatch(/STAGE: The scale of "box" is 0/);
    expect(code(() => world.render(stage([], { camera: { ...camera, fov: 0 } })))).toMatch(/16 to 1920/);
    expect(code(() => world.render(stage([], { camera: { ...camera, eye: camera.target } })))).toMatch(
      /same point/,
    );
    expect(one({ mesh: "sign", sign: "LONGEST" })).toMatch(/SIGN: .*7 letters: at most 5/);
    expect(one({ mesh: "sign", sign: "stop" })).toMatch(/SIGN: .*"s".*ABC/);
  });

  it("draws the smallest and the largest picture, and looks straight down", () => {
    const down = { eye: [0, 2, 0], target: [0, 0, 0], fov: 400 } as const;
    expect(
      world.render(stage([item("box", 0.5)], { camera: down }), { size: 16 }).visible[0]!.pixels,
    ).toBeGreaterThan(9);
    expect(world.render(stage([item("box", 0.5)]), { size: 1024 }).rgb.length).toBe(3 * 1024 * 1024);
  });

  it("leaves out what reaches behind the camera", () => {
    const { visible } = world.render(stage([item("box", 9)]), { size: 64 });
    expect(visible.length).toBe(1);
  });

  it("is refused when the pack's index and bytes do not agree", () => {
    const pack = readPack(readFileSync(source("../assets/diorama/world.bin")));
    const changed = (change: (mesh: PackedMesh) => Partial<PackedMesh>) => {
      const meshes = pack.index.meshes.map((mesh) =>
        mesh.name === "box" ? { ...mesh, ...change(mesh) } : mesh,
      );
      return new World({ ...pack, index: { ...pack.index, meshes } });
    };
    const box = (other: World) => () => other.render(stage([item("box", 0.5)]), { size: 16 });
    expect(box(changed(() => ({})))().visible.length).toBe(1);
    expect(box(changed(({ indices }) => ({ indices: indices + 3 })))).toThrow(
      /"box" has \d+ bytes instead of/,
    );
    expect(box(changed(({ at }) => ({ at: at + 1 })))).toThrow(/"box" names vertex/);
    expect(box(changed(() => ({ at: 1e9 })))).toThrow(/its index names bytes/);
  });

  it("says where a missing pack was looked for", async () => {
    await expect(World.open("/no/such/world.bin")).rejects.toThrow(/\/no\/such\/world\.bin/);
  });
});

describe.skipIf(!hasChromium)(`in the browser ${needsChromium}`, () => {
  let folder: string;
  let site: Site;
  let browser: Browser;
  let modules: string[];

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "diorama-"));
    ({ modules } = await bundle(source("browser/diorama"), folder, {
      configFile: false,
      resolve: { conditions: ["source", "browser", "module", "import", "default"] },
    }));
    site = await serve({ "/": folder, "/diorama/": source("../assets/diorama/") });
    browser = await launch();
  });

  afterAll(async () => {
    await browser?.close();
    await site?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it("holds nothing of Node", () => {
    expect(modules.filter((id) => /^(node:|__vite-browser-external)|sharp|\/node\.ts$/.test(id))).toEqual([]);
  });

  it("draws the same pixels as Node", async () => {
    const page = await browser.newPage();
    await page.goto(site.url);
    await page.waitForFunction(() => "diorama" in globalThis);
    const drawn = await page.evaluate(
      async (stages) => {
        const world = await diorama.World.open();
        return stages.map(({ stage, size }) => {
          const { rgb, mask, visible } = world.render(stage, { size });
          return { rgb: Array.from(rgb), mask: Array.from(mask), visible };
        });
      },
      everything.map((stage, i) => ({ stage, size: sizes(i) })),
    );
    const found = drawn.map(({ rgb, mask, visible }) =>
      digest({ rgb: Uint8Array.from(rgb), mask: Uint8Array.from(mask), visible }),
    );
    expect(found).toEqual(renderAll());
  });

  it("says that the pack is missing", async () => {
    const page = await browser.newPage();
    await page.goto(site.url);
    await page.waitForFunction(() => "diorama" in globalThis);
    const message = await page.evaluate(() =>
      diorama.World.open("/nowhere.bin").then(
        () => "",
        (error: Error) => error.message,
      ),
    );
    expect(message).toMatch(/nowhere\.bin.*404/);
  });
});
