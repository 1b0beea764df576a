/** @file The engine's host in the browser: sessions of onnxruntime-web, on WebGPU or in WebAssembly with SIMD. */

import type * as ortTypes from "onnxruntime-web";
import { type DiffsightError, failure, misuse, Tensor } from "../tensor/index.js";
import { fromOrt, toOrt } from "./convert.js";
import type { Device, Feeds, Host, HostModule, RuntimeOptions, SessionRequest } from "./host.js";
import { deviceProbeModel } from "./probe.js";
import { sessionOptions } from "./session.js";

/** Each device has a build of its own: that without WebGPU is half as large. */
const builds = {
  cpu: { file: "ort-wasm-simd-threaded.wasm", load: () => import("onnxruntime-web/wasm") },
  webgpu: { file: "ort-wasm-simd-threaded.asyncify.wasm", load: () => import("onnxruntime-web/webgpu") },
};

type Build = keyof typeof builds;

const runtimes = new Map<Build, Promise<typeof ortTypes>>();
let wasmPaths: RuntimeOptions["wasmPaths"];

export const configureRuntime: HostModule["configureRuntime"] = (options) => {
  if (runtimes.size > 0) {
    throw misuse(
      "RUNTIME_STARTED",
      "The runtime has started: configure it before the first model is opened.",
    );
  }
  wasmPaths = options.wasmPaths;
};

/** The address of a build's WebAssembly, when it is not where the bundler put it. */
function wasmAddress(build: Build): string | undefined {
  const isFolder = typeof wasmPaths === "string" || wasmPaths instanceof URL;
  const given = isFolder
    ? wasmPaths
    : (wasmPaths as Partial<Record<Build, string | URL>> | undefined)?.[build];
  if (given === undefined) return undefined;
  const url = new URL(given as string | URL, location.href);
  return isFolder ? new URL(builds[build].file, url.href.replace(/\/*$/, "/")).href : url.href;
}

function runtime(build: Build, threads: number): Promise<typeof ortTypes> {
  const known = runtimes.get(build);
  if (known) return known;
  const started = builds[build].load().then((ort) => {
    const wasm = wasmAddress(build);
    if (wasm !== undefined) ort.env.wasm.wasmPaths = { wasm };
    ort.env.wasm.numThreads = threads;
    return ort as typeof ortTypes;
  });
  runtimes.set(build, started);
  return started;
}

let last: Promise<unknown> = Promise.resolve();

/** Calls into WebAssembly follow each other: none may enter while another waits there for the GPU. */
function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const turn = last.then(work).catch((cause) => {
    throw explained(cause);
  });
  last = turn.catch(() => {});
  return turn;
}

function explained(cause: unknown): DiffsightError {
  if (cause instanceof Error && "code" in cause && typeof cause.code === "string")
    return cause as DiffsightError;
  const said = cause instanceof Error ? cause.message : String(cause);
  if (/fetching of the wasm failed|no available backend found|initializeWebAssembly/.test(said)) {
    const files = Object.values(builds).map(({ file }) => file);
    const remedy = `serve ${files.join(" and ")} of onnxruntime-web and name their folder with configureRuntime({ wasmPaths })`;
    return failure(
      "RUNTIME_FILES",
      `The runtime's WebAssembly cannot be loaded: ${remedy}. (${said})`,
      cause,
    );
  }
  // An exception of C++ that nobody caught arrives as its address, a number.
  if (/^\d+$/.test(said) || /memory|bad_alloc/i.test(said)) {
    return failure(
      "OUT_OF_MEMORY",
      `The page's memory does not suffice for this model and size. (${said})`,
      cause,
    );
  }
  return failure("ENGINE", said, cause);
}

async function bytesOf(url: string): Promise<Uint8Array> {
  const response = await fetch(url);
  if (!response.ok) throw failure("NETWORK", `${url} answered ${response.status}.`);
  return new Uint8Array(await response.arrayBuffer());
}

export const openHost: HostModule["openHost"] = () => {
  const sessions = new Map<number, { session: ortTypes.InferenceSession; Type: typeof ortTypes.Tensor }>();
  let next = 0;
  return {
    create: (request: SessionRequest) =>
      inTurn(async () => {
        const build = request.device === "webgpu" ? "webgpu" : "cpu";
        const ort = await runtime(build, request.threads);
        const memory = request.buffers.map(({ location, bytes }) => ({ path: location, data: bytes }));
        const files = request.files.map(async (file) => ({ path: file, data: await bytesOf(file) }));
        const session = await ort.InferenceSession.create(request.model, {
          ...sessionOptions({ ...request, folder: undefined }),
          executionProviders: [build === "cpu" ? "wasm" : "webgpu"],
          externalData: [...memory, ...(await Promise.all(files))],
        });
        sessions.set(++next, { session, Type: ort.Tensor });
        return next;
      }),
    run: (id: number, feeds: Feeds) =>
      inTurn(async () => {
        const { session, Type } = sessions.get(id)!;
        const given = Object.entries(feeds).map(([name, tensor]) => [name, toOrt(Type, tensor)]);
        const results = await session.run(Object.fromEntries(given));
        const tensors = Object.entries(results).map(([name, result]): [string, Tensor] => {
          const { dtype, dims, data } = fromOrt(result);
          return [name, new Tensor(dtype, dims, data)];
        });
        return Object.fromEntries(tensors);
      }),
    release: (id: number) =>
      inTurn(async () => {
        await sessions.get(id)!.session.release();
        sessions.delete(id);
        return undefined;
      }),
    kill() {
      // What runs now cannot be stopped: the sessions go when it has ended.
      void inTurn(async () => {
        for (const { session } of sessions.values()) await session.release();
        sessions.clear();
      });
    },
  } satisfies Host;
};

export const probe: HostModule["probe"] = async (device: Device) => {
  if (device === "cpu") return undefined;
  if (device !== "webgpu") return "a browser computes on cpu and webgpu.";
  const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<unknown> } };
  if (!gpu) {
    return isSecureContext
      ? "this browser has no WebGPU."
      : "WebGPU is for secure pages only: serve this one over https, or from localhost.";
  }
  if (!(await gpu.requestAdapter())) return "this browser finds no graphics adapter for WebGPU.";
  const host = openHost();
  try {
    const session = await host.create({
      model: deviceProbeModel(),
      buffers: [],
      files: [],
      device,
      preset: "fast",
      threads: 1,
    });
    await host.run(session, { x: Tensor.f32([1], [1]) });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    host.kill();
  }
};

/** A tab of a browser: WebAssembly's own limit is the tighter one. */
export const availableMemory: HostModule["availableMemory"] = () => 2 ** 32;

/** Threads share memory, which pages may do only when they are isolated from other origins. */
export const hardwareThreads: HostModule["hardwareThreads"] = () =>
  globalThis.crossOriginIsolated ? navigator.hardwareConcurrency : 1;

export const commonFolder: HostModule["commonFolder"] = () => ({ folder: undefined, locate: (file) => file });

/** A page's memory does not hold weights twice. */
export const derivesWeights: HostModule["derivesWeights"] = false;

export const derivedFile: HostModule["derivedFile"] = () => "";

export const discardDerived: HostModule["discardDerived"] = () => {};
