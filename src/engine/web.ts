/** @file The engine's host in the browser: sessions of onnxruntime-web (WebGPU, or WebAssembly with SIMD). */

import type * as ortTypes from "onnxruntime-web";
import { failure, Tensor } from "../tensor/index.js";
import { fromOrt, toOrt } from "./convert.js";
import type { Device, Feeds, Host, HostModule, SessionRequest } from "./host.js";
import { deviceProbeModel } from "./probe.js";
import { sessionOptions } from "./session.js";

let loaded: Promise<typeof ortTypes> | undefined;

function runtime(): Promise<typeof ortTypes> {
  loaded ??= import("onnxruntime-web/webgpu").then((ort) => ort as typeof ortTypes);
  return loaded;
}

async function bytesOf(url: string): Promise<Uint8Array> {
  const response = await fetch(url);
  if (!response.ok) throw failure("DOWNLOAD", `${url}: HTTP ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

export const openHost: HostModule["openHost"] = () => {
  const sessions = new Map<number, ortTypes.InferenceSession>();
  let next = 0;
  return {
    async create(request: SessionRequest) {
      const ort = await runtime();
      const memory = request.buffers.map(({ location, bytes }) => ({ path: location, data: bytes }));
      const files = await Promise.all(
        request.files.map(async (file) => ({ path: file, data: await bytesOf(file) })),
      );
      const options = sessionOptions({ ...request, folder: undefined });
      const session = await ort.InferenceSession.create(request.model, {
        ...options,
        executionProviders: request.device === "cpu" ? ["wasm"] : [request.device],
        externalData: [...memory, ...files],
      });
      sessions.set(++next, session);
      return next;
    },
    async run(session: number, feeds: Feeds) {
      const ort = await runtime();
      const given = Object.fromEntries(
        Object.entries(feeds).map(([name, tensor]) => [name, toOrt(ort.Tensor, tensor)]),
      );
      const results = await sessions.get(session)!.run(given);
      return Object.fromEntries(
        Object.entries(results).map(([name, tensor]) => {
          const { dtype, dims, data } = fromOrt(tensor);
          return [name, new Tensor(dtype, dims, data)];
        }),
      );
    },
    async release(session: number) {
      await sessions.get(session)!.release();
      sessions.delete(session);
      return undefined;
    },
    kill() {
      for (const session of sessions.values()) void session.release();
      sessions.clear();
    },
  } satisfies Host;
};

export const probe: HostModule["probe"] = async (device: Device) => {
  if (device === "cpu") return true;
  if (device !== "webgpu" || !("gpu" in navigator)) return false;
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
    return true;
  } catch {
    return false;
  } finally {
    host.kill();
  }
};

/** A tab of a browser: WebAssembly's own limit is the tighter one. */
export const availableMemory: HostModule["availableMemory"] = () => 2 ** 32;

export const hardwareThreads: HostModule["hardwareThreads"] = () =>
  globalThis.crossOriginIsolated ? navigator.hardwareConcurrency : 1;

export const commonFolder: HostModule["commonFolder"] = () => ({ folder: undefined, locate: (file) => file });
