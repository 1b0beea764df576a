/** @file The engine's host in the browser: sessions of onnxruntime-web, on WebGPU or in WebAssembly with SIMD. */

import type * as ortTypes from "onnxruntime-web";
import { rangeLocation } from "../graph/index.js";
import { aborted, DiffsightError, failure, misuse, Tensor } from "../tensor/index.js";
import { fromOrt, toOrt } from "./convert.js";
import { fetchRanges } from "./fetch-ranges.js";
import type { Device, Feeds, Host, HostModule, KeptRun, SessionRequest } from "./host.js";
import { RowStore } from "./kept.js";
import { tryOut } from "./probe.js";
import { sessionOptions } from "./session.js";

/** Each device has a build of its own: that without WebGPU is half as large. */
const builds = {
  cpu: { wasm: "ort-wasm-simd-threaded.wasm", load: () => import("onnxruntime-web/wasm") },
  webgpu: { wasm: "ort-wasm-simd-threaded.asyncify.wasm", load: () => import("onnxruntime-web/webgpu") },
};

/**
 * Threads start from a script. The one inside the build would do, if bundlers did not mix it with the page's own code,
 * which each thread would run again: so they get the script that lies beside the WebAssembly.
 */
const threadScript = "ort-wasm-simd-threaded.mjs";

type Build = keyof typeof builds;

const runtimes = new Map<Build, Promise<typeof ortTypes>>();
let folder: string | undefined;

export const configureHost: HostModule["configureHost"] = ({ wasmPaths }) => {
  if (runtimes.size > 0) {
    throw misuse(
      "RUNTIME_STARTED",
      "The runtime has started: configure it before the first model is opened.",
    );
  }
  folder = wasmPaths && new URL(wasmPaths, location.href).href.replace(/\/*$/, "/");
};

/** The files of the build for CPU where the bundler put them: it looks for these very words. */
function bundledFiles(): { wasm: string; mjs: string } {
  return {
    wasm: new URL("onnxruntime-web/ort-wasm-simd-threaded.wasm", import.meta.url).href,
    mjs: new URL("onnxruntime-web/ort-wasm-simd-threaded.mjs", import.meta.url).href,
  };
}

/** Whether a script is there: in place of what no bundler put there, servers send nothing or a page. */
async function isScript(url: string): Promise<boolean> {
  const response = await fetch(url, { method: "HEAD" }).catch(() => undefined);
  return response?.ok === true && /javascript/.test(response.headers.get("content-type") ?? "");
}

async function start(build: Build, wanted: number): Promise<typeof ortTypes> {
  const ort = await builds[build].load();
  const files = folder ? { wasm: folder + builds[build].wasm, mjs: folder + threadScript } : bundledFiles();
  const mayThread = build === "cpu" && wanted > 1 && globalThis.crossOriginIsolated;
  const threaded = mayThread && (await isScript(files.mjs));
  if (threaded) ort.env.wasm.wasmPaths = files;
  else if (folder) ort.env.wasm.wasmPaths = { wasm: files.wasm };
  ort.env.wasm.numThreads = threaded ? wanted : 1;
  return ort as typeof ortTypes;
}

function runtime(build: Build, threads: number): Promise<typeof ortTypes> {
  const started = runtimes.get(build) ?? start(build, threads);
  runtimes.set(build, started);
  started.catch(() => runtimes.delete(build));
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
  if (cause instanceof DiffsightError) return cause;
  const said = cause instanceof Error ? cause.message : String(cause);
  if (/no available backend.*(wasm|WebAssembly|module)|initializeWebAssembly/is.test(said)) {
    const files = [...Object.values(builds).map(({ wasm }) => wasm), threadScript].join(", ");
    const remedy = `serve ${files} of onnxruntime-web and name their folder with configureRuntime({ wasmPaths })`;
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

export const openHost: HostModule["openHost"] = () => {
  const sessions = new Map<number, { session: ortTypes.InferenceSession; Type: typeof ortTypes.Tensor }>();
  const rows = new RowStore();
  const ended = new AbortController();
  let next = 0;
  return {
    get alive() {
      return !ended.signal.aborted;
    },
    async create(request: SessionRequest) {
      const externalData = request.buffers.map(({ location, bytes }) => ({ path: location, data: bytes }));
      for await (const { range, bytes } of fetchRanges(request.ranges, ended.signal)) {
        externalData.push({ path: rangeLocation(range), data: bytes });
      }
      return inTurn(async () => {
        if (ended.signal.aborted) throw aborted();
        const build = request.device === "webgpu" ? "webgpu" : "cpu";
        const ort = await runtime(build, request.threads);
        const session = await ort.InferenceSession.create(request.model, {
          ...sessionOptions({ ...request, folder: undefined }),
          executionProviders: [build === "cpu" ? "wasm" : "webgpu"],
          externalData,
        });
        sessions.set(++next, { session, Type: ort.Tensor });
        return next;
      });
    },
    run: (id: number, feeds: Feeds, into: Feeds = {}, kept?: KeptRun) =>
      inTurn(async () => {
        const { session, Type } = sessions.get(id)!;
        const all = kept ? { ...feeds, ...rows.read(kept) } : feeds;
        const given = Object.entries(all).map(([name, tensor]) => [name, toOrt(Type, tensor)]);
        const results = await session.run(Object.fromEntries(given));
        const tensors = Object.entries(results).map(([name, result]): [string, Tensor] => {
          const { dtype, dims, data } = fromOrt(result);
          const target = into[name];
          target?.data.set(data as never);
          return [name, target ?? new Tensor(dtype, dims, data)];
        });
        const named = Object.fromEntries(tensors);
        if (kept) rows.take(kept, named);
        return named;
      }),
    drop: (kept: number) => inTurn(async () => rows.drop(kept)),
    release: (id: number) =>
      inTurn(async () => {
        await sessions.get(id)!.session.release();
        sessions.delete(id);
      }),
    kill() {
      ended.abort();
      // What runs now cannot be stopped: the sessions go when it has ended.
      inTurn(async () => {
        for (const { session } of sessions.values()) await session.release();
        sessions.clear();
      }).catch(() => {});
    },
  } satisfies Host;
};

export const probe: HostModule["probe"] = async (device: Device) => {
  if (device === "cpu") return { fusedAttention: true };
  const obstacle = await graphicsObstacle(device);
  return obstacle === undefined ? tryOut(openHost(), device) : { obstacle, fusedAttention: false };
};

async function graphicsObstacle(device: Device): Promise<string | undefined> {
  if (device !== "webgpu") return "a browser computes on cpu and webgpu.";
  const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<unknown> } };
  if (!gpu && !isSecureContext) {
    return "WebGPU is for secure pages only: serve this one over https, or from localhost.";
  }
  if (!gpu) return "this browser has no WebGPU.";
  if (!(await gpu.requestAdapter())) return "this browser finds no graphics adapter for WebGPU.";
  return undefined;
}

/** A tab of a browser: WebAssembly's own limit is the tighter one. */
export const availableMemory: HostModule["availableMemory"] = () => 2 ** 32;

/** Threads share memory, which pages may do only when they are isolated from other origins. */
export const hardwareThreads: HostModule["hardwareThreads"] = () =>
  globalThis.crossOriginIsolated ? navigator.hardwareConcurrency : 1;

export const opensFiles: HostModule["opensFiles"] = false;

export const commonFolder: HostModule["commonFolder"] = () => ({ folder: undefined, locate: (file) => file });

/** A page's memory does not hold weights twice. */
export const derivesWeights: HostModule["derivesWeights"] = false;

export const derivedFile: HostModule["derivedFile"] = () => "";

export const discardDerived: HostModule["discardDerived"] = () => {};
