/** @file The engine: weights wherever they lie, order, cancelling, accidents, memory, and its end. */

import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { Engine, type Preset, presets } from "../src/engine/index.js";
import {
  add,
  groupNorm,
  input,
  linear,
  matmul,
  mean,
  mul,
  parameter,
  slice,
  steadyThreads,
  sum,
  type Value,
} from "../src/graph/index.js";
import { type DiffsightError, type DType, Tensor } from "../src/tensor/index.js";
import { Bench, bytesOf, expectExact } from "./reference/bench.js";

const folder = mkdtempSync(path.join(tmpdir(), "diffsight-engine-"));
afterAll(() => rmSync(folder, { recursive: true }));

const x = input("x", [2]);
const feeds = { x: Tensor.f32([2], [1, 2]) };

/** Products of large matrices, about `seconds` of them; the result is finite. */
function long(seconds: number): { y: Value; feeds: Record<string, Tensor> } {
  const size = 1536;
  const a = input("a", [size, size]);
  let y: Value = a;
  for (let i = 0; i < seconds * 20; i++) y = mul(matmul(y, a), 1e-3);
  return { y, feeds: { a: Tensor.f32([size, size]) } };
}

function code(run: Promise<unknown>): Promise<string> {
  return run.then(
    () => "done",
    (error: DiffsightError) => error.code,
  );
}

describe.each(presets)("weights, %s", (memory) => {
  /** Writes numbers into a file at an offset that no element type aligns with. */
  function stored(bench: Bench, file: string, dims: number[], type: DType): Value<"parameter"> {
    const bytes = bytesOf(bench.random(dims).to(type));
    const before = 3 + (dims[0]! % 5);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, Buffer.concat([Buffer.alloc(before, 1), bytes, Buffer.alloc(7, 1)]));
    return parameter(path.basename(file), dims, type, { file, offset: before, length: bytes.length });
  }

  it("in files at any offset, in folders apart, and in memory, small and large", async () => {
    await using engine = await Engine.open({ device: "cpu", memory });
    const bench = new Bench(1);
    const data = bench.input([3, 40]);
    for (const type of ["f32", "f16", "bf16"] as const) {
      const near = stored(bench, path.join(folder, memory, `near-${type}`), [64, 40], type);
      const far = stored(bench, path.join(folder, memory, "a", "b", `far-${type}`), [40, 64], type);
      const bias = bench.parameter([40], type);
      bench.want(linear(linear(data, near), far, bias));
      bench.want(linear(data, bench.parameter([50, 40], type)));
      for (const weight of [near, bench.parameter([64, 40], type)]) {
        const rows = [slice(weight, 0, 5, 30), slice(weight, 0, 30, 64)].map((some) => linear(data, some));
        bench.want(mul(rows[0]!, slice(rows[1]!, 1, 0, 25)));
      }
    }
    await expectExact(engine, bench);
  });
});

it("reads shards through links only when their real place is named", async () => {
  // The runtime refuses links that leave its folder, as those of the Hugging Face cache do.
  await using engine = await Engine.open({ device: "cpu", memory: "mmap" });
  const bytes = bytesOf(
    Tensor.f32(
      [300],
      Float32Array.from({ length: 300 }, (_, i) => i),
    ),
  );
  mkdirSync(path.join(folder, "blobs"), { recursive: true });
  mkdirSync(path.join(folder, "snapshots"), { recursive: true });
  writeFileSync(path.join(folder, "blobs", "blob"), bytes);
  symlinkSync("../blobs/blob", path.join(folder, "snapshots", "link"));
  const from = (file: string) => {
    const weight = parameter("w", [300], "f32", { file: path.join(folder, file), offset: 0, length: 1200 });
    return engine.compile({ y: add(weight, 1) }).run({});
  };
  expect((await from("blobs/blob")).y!.toFloat32()[299]).toBe(300);
  expect(await code(from("snapshots/link"))).toBe("ENGINE");
});

describe("options", () => {
  it.each<[string, object, string, string]>([
    ["device", { device: "tpu" }, "DEVICE", "auto, cpu, webgpu, cuda"],
    ["memory preset", { memory: "turbo" }, "MEMORY_PRESET", "auto, fast, mmap, low"],
    ["threads", { threads: 0 }, "THREADS", "not 0"],
    ["threads", { threads: 1.5 }, "THREADS", "not 1.5"],
    ["threads", { threads: Number.NaN }, "THREADS", "not NaN"],
  ])("an unknown %s is refused", async (_, options, expected, message) => {
    const opened = Engine.open({ device: "cpu", ...options } as object);
    await expect(opened).rejects.toMatchObject({ code: expected, misuse: true });
    await expect(opened).rejects.toThrow(message);
  });

  it("a device that is not there is refused with the reason", async () => {
    const opened = Engine.open({ device: "cuda" });
    await expect(opened).rejects.toMatchObject({ code: "DEVICE", misuse: true });
    await expect(opened).rejects.toThrow(
      /^Nothing can run on the device "cuda" here: .+ Allowed: auto, cpu\.$/,
    );
  });
});

describe("choices", () => {
  it("take the preset by the number of passes, unless it is named", async () => {
    const preset = async (options: object) => {
      await using engine = await Engine.open({ device: "cpu", ...options });
      return engine.compile({ y: add(x, 1) }).request.preset;
    };
    expect(await preset({ passes: 1 })).toBe("mmap");
    expect(await preset({ passes: 100 })).toBe("fast");
    expect(await preset({ passes: 100, memory: "low" })).toBe("low");
  });

  it("use no more threads in place than keep the bits", async () => {
    const threads = async (memory: Preset) => {
      await using engine = await Engine.open({ device: "cpu", memory, threads: 32 });
      return engine.compile({ y: add(x, 1) }).request.threads;
    };
    expect(await threads("mmap")).toBe(steadyThreads);
    expect(await threads("fast")).toBe(32);
  });
});

describe("runs", () => {
  it("refuse inputs that are missing or of another shape", async () => {
    await using engine = await Engine.open({ device: "cpu" });
    const program = engine.compile({ y: add(x, 1) });
    await expect(program.run({})).rejects.toThrow("Input x must be [2], not nothing.");
    await expect(program.run({ x: Tensor.f32([3]) })).rejects.toMatchObject({ code: "SHAPE", misuse: true });
  });

  it("give the same bits wherever the numbers lie in memory", async () => {
    await using engine = await Engine.open({ device: "cpu" });
    const bench = new Bench(8);
    const numbers = bench.random([3, 9, 5, 2]).toFloat32();
    const fed = input("fed", [3, 9, 5, 2]);
    const weight = bench.parameter([9]);
    const y = groupNorm(fed, weight, weight, { groups: 3, eps: 1e-6 });
    const program = engine.compile({ y, sum: sum(fed, 0, 2, 3), mean: mean(fed, 1) });
    const seen = new Set<string>();
    for (let offset = 0; offset < 16; offset++) {
      const data = new Float32Array(600).subarray(offset, offset + numbers.length);
      data.set(numbers);
      const results = await program.run({ fed: new Tensor("f32", fed.dims, data) });
      seen.add(
        Object.values(results)
          .map((one) => Buffer.from(bytesOf(one)).toString("hex"))
          .join(),
      );
    }
    expect(seen.size).toBe(1);
  });

  it("that are asked at once keep their order and their numbers apart", async () => {
    await using engine = await Engine.open({ device: "cpu" });
    const programs = Array.from({ length: 4 }, (_, k) => engine.compile({ y: mul(x, k + 1) }));
    const order: number[] = [];
    const results = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const { y } = await programs[i % 4]!.run({ x: Tensor.f32([2], [i, -i]) });
        order.push(i);
        return [...y!.toFloat32()];
      }),
    );
    expect(order).toEqual(Array.from({ length: 40 }, (_, i) => i));
    expect(results).toEqual(results.map((_, i) => [i * ((i % 4) + 1), -i * ((i % 4) + 1)]));
  });

  it("that fail do not disturb those behind them", async () => {
    await using engine = await Engine.open({ device: "cpu" });
    const missing = parameter("w", [2], "f32", { file: path.join(folder, "none"), offset: 0, length: 8 });
    const broken = engine.compile({ y: add(x, missing) });
    const sound = engine.compile({ y: add(x, 1) });
    const [first, second] = await Promise.allSettled([broken.run(feeds), sound.run(feeds)]);
    expect(first).toMatchObject({ status: "rejected", reason: { code: "ENGINE" } });
    expect(second).toMatchObject({ status: "fulfilled" });
  });
});

describe("cancelling", () => {
  it("ends a long run at once, and the next one is served soon", async () => {
    await using engine = await Engine.open({ device: "cpu", memory: "mmap" });
    const { y, feeds: given } = long(30);
    const program = engine.compile({ y });
    const next = engine.compile({ y: add(x, 1) });
    const stop = new AbortController();
    const running = program.run(given, { signal: stop.signal });
    await new Promise((resolve) => setTimeout(resolve, 1500));

    const start = performance.now();
    stop.abort();
    expect(await code(running)).toBe("ABORTED");
    const ended = performance.now() - start;
    expect((await next.run(feeds)).y!.toArray()).toEqual([2, 3]);
    const served = performance.now() - start;
    console.log(`cancelled in ${ended.toFixed(0)} ms, next run served after ${served.toFixed(0)} ms`);
    expect(ended).toBeLessThan(200);
    expect(served).toBeLessThan(2000);
  });

  it("takes a waiting run out without touching the one in progress", async () => {
    await using engine = await Engine.open({ device: "cpu", memory: "mmap" });
    const { y, feeds: given } = long(1);
    const stop = new AbortController();
    const done: string[] = [];
    const first = engine.compile({ y }).run(given);
    const second = engine.compile({ y: add(x, 1) }).run(feeds, { signal: stop.signal });
    first.then(() => done.push("first"));
    second.catch(() => done.push("second"));
    stop.abort();
    expect(await code(second)).toBe("ABORTED");
    expect((await first).y).toBeInstanceOf(Tensor);
    expect(done).toEqual(["second", "first"]);
  });

  it("before the start does nothing at all", async () => {
    await using engine = await Engine.open({ device: "cpu" });
    const program = engine.compile({ y: add(x, 1) });
    expect(await code(program.run(feeds, { signal: AbortSignal.abort() }))).toBe("ABORTED");
    expect(await code(program.run(feeds))).toBe("done");
  });
});

describe("a process that computes", () => {
  it("is missed when it dies in the middle of a run, and replaced", async () => {
    await using engine = await Engine.open({ device: "cpu", memory: "mmap" });
    const { y, feeds: given } = long(30);
    const running = engine.compile({ y }).run(given);
    const next = engine.compile({ y: add(x, 1) });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    for (const pid of childrenOf(process.pid)) process.kill(pid, "SIGKILL");
    await expect(running).rejects.toMatchObject({
      code: "ENGINE_DIED",
      message: expect.stringContaining("killed"),
    });
    expect((await next.run(feeds)).y!.toArray()).toEqual([2, 3]);
  });

  it("that died between two runs is replaced", async () => {
    await using engine = await Engine.open({ device: "cpu" });
    const program = engine.compile({ y: add(x, 1) });
    await program.run(feeds);
    for (const pid of childrenOf(process.pid)) process.kill(pid, "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect((await program.run(feeds)).y!.toArray()).toEqual([2, 3]);
    await program.release();
  });
});

describe("memory", () => {
  it("is given back when a program is released, and when the engine is disposed", async () => {
    const size = 8192;
    const engine = await Engine.open({ device: "cpu", memory: "fast" });
    const small = engine.compile({ y: add(x, 1) });
    await small.run(feeds);
    const before = residentBytes();
    const weight = parameter("w", [size, size], "f32", { bytes: bytesOf(Tensor.f32([size, size])) });
    const program = engine.compile({ y: linear(input("r", [1, size]), weight) });
    await program.run({ r: Tensor.f32([1, size]) });
    const held = residentBytes() - before;
    expect(held).toBeGreaterThan(2.5e8);
    await program.release();
    await small.run(feeds);
    const left = residentBytes() - before;
    console.log(`held ${(held / 1e6).toFixed(0)} MB, ${(left / 1e6).toFixed(0)} MB after the release`);
    expect(left).toBeLessThan(1.2e8);

    const children = childrenOf(process.pid);
    expect(children.length).toBeGreaterThan(0);
    await engine.dispose();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(childrenOf(process.pid)).toEqual([]);
    expect(await code(small.run(feeds))).toBe("CLOSED");
    await small.release();
    await engine.dispose();
  });
});

describe("a script that uses it", () => {
  const run = promisify(execFile);
  const root = fileURLToPath(new URL("..", import.meta.url));

  /** Runs a script from another folder, as `npx` would; resolves with what it printed. */
  async function script(body: string): Promise<{ stdout: string; seconds: number }> {
    const file = path.join(folder, `script-${performance.now()}.mts`);
    const door = (room: string) => JSON.stringify(path.join(root, "src", room, "index.ts"));
    writeFileSync(
      file,
      `import { Engine } from ${door("engine")};
       import { add, input, matmul, mul } from ${door("graph")};
       import { Tensor } from ${door("tensor")};
       const engine = await Engine.open({ device: "cpu" });
       const x = input("x", [2]);
       const feeds = { x: Tensor.f32([2], [1, 2]) };
       ${body}`,
    );
    const loader = path.join(root, "node_modules", "tsx", "dist", "loader.mjs");
    const start = performance.now();
    const { stdout } = await run(process.execPath, ["--conditions=source", "--import", loader, file], {
      cwd: folder,
      timeout: 60_000,
    });
    return { stdout, seconds: (performance.now() - start) / 1000 };
  }

  it("ends by itself, without disposing anything", async () => {
    const { stdout } = await script(
      `console.log((await engine.compile({ y: add(x, 1) }).run(feeds)).y.toArray().join());`,
    );
    expect(stdout).toBe("2,3\n");
  });

  it("may leave in the middle of a run", async () => {
    const { stdout, seconds } = await script(`
      const size = 1536;
      const a = input("a", [size, size]);
      let y = a;
      for (let i = 0; i < 600; i++) y = mul(matmul(y, a), 1e-3);
      engine.compile({ y }).run({ a: Tensor.f32([size, size]) }).catch(() => {});
      setTimeout(() => { console.log("leaving"); process.exit(0); }, 1500);
    `);
    expect(stdout).toBe("leaving\n");
    expect(seconds).toBeLessThan(10);
  });
});

/** Processes that this one started and that are still there. */
function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return text === "" ? [] : text.split(" ").map(Number);
}

/** Memory of the processes that compute. */
function residentBytes(): number {
  return childrenOf(process.pid).reduce((total, pid) => {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return total + 1024 * Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
  }, 0);
}
