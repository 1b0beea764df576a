/** @file The engine's host in Node: sessions of onnxruntime-node in a worker thread. */

import { existsSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { availableParallelism, freemem, tmpdir } from "node:os";
import path from "node:path";
import { Worker } from "node:worker_threads";
import { failure, Tensor } from "../tensor/index.js";
import type { Device, Feeds, Host, HostModule, SessionRequest } from "./host.js";
import { tryOut } from "./probe.js";
import type { Call, Reply } from "./worker.js";

type WithoutId<T> = T extends { id: number } ? Omit<T, "id"> : never;

/** The thread's program; from a checkout it is TypeScript and needs its loader first. */
const workerFile = import.meta.url.endsWith(".ts") ? "./worker-source.mjs" : "./worker.js";

export const openHost: HostModule["openHost"] = () => {
  let worker: Worker | undefined;
  let next = 0;
  const waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();

  const failAll = (message: string) => {
    worker = undefined;
    for (const { reject } of waiting.values()) reject(failure("ENGINE_DIED", message));
    waiting.clear();
  };

  const start = (): Worker => {
    const thread = new Worker(new URL(workerFile, import.meta.url));
    thread.on("message", (reply: Reply) => {
      const call = waiting.get(reply.id);
      waiting.delete(reply.id);
      if (waiting.size === 0) thread.unref();
      if ("error" in reply) call?.reject(failure("ENGINE", reply.error));
      else call?.resolve(reply.result);
    });
    thread.on(
      "error",
      (error) => worker === thread && failAll(`The thread that computes died: ${error.message}`),
    );
    thread.on(
      "exit",
      (code) => worker === thread && failAll(`The thread that computes ended (exit ${code}).`),
    );
    return thread;
  };

  const call = <T>(message: WithoutId<Call>): Promise<T> => {
    worker ??= start();
    worker.ref();
    const id = ++next;
    return new Promise<T>((resolve, reject) => {
      waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      worker!.postMessage({ id, ...message });
    });
  };

  return {
    create: (request: SessionRequest) => call<number>({ kind: "create", request }),
    run: async (session: number, feeds: Feeds) => {
      const results = await call<Feeds>({ kind: "run", session, feeds });
      // Structured cloning keeps the data and loses the class.
      return Object.fromEntries(
        Object.entries(results).map(([name, { dtype, dims, data }]) => [name, new Tensor(dtype, dims, data)]),
      );
    },
    release: (session: number) => call<string | undefined>({ kind: "release", session }),
    kill: () => {
      const dead = worker;
      failAll("The thread that computes was ended.");
      dead?.unref();
      void dead?.terminate();
    },
  } satisfies Host;
};

export const configureHost: HostModule["configureHost"] = () => {};

export const probe: HostModule["probe"] = async (device: Device) => {
  if (device === "cpu") return { fusedAttention: true };
  // Without a device node of a graphics card there is nothing that a session could find, but a driver may be named.
  const drivers = ["/dev/dri", "/dev/nvidia0", "/dev/nvidiactl"];
  if (
    process.platform === "linux" &&
    !process.env.VK_ICD_FILENAMES &&
    !drivers.some((file) => existsSync(file))
  ) {
    const obstacle = "no graphics card was found (neither /dev/dri nor /dev/nvidia0).";
    return { obstacle, fusedAttention: false };
  }
  return tryOut(openHost(), device);
};

export const availableMemory: HostModule["availableMemory"] = () => {
  if (process.platform !== "linux") return freemem();
  const line = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8"));
  return line ? Number(line[1]) * 1024 : freemem();
};

export const hardwareThreads: HostModule["hardwareThreads"] = () => availableParallelism();

export const opensFiles: HostModule["opensFiles"] = true;

export const commonFolder: HostModule["commonFolder"] = (files) => {
  if (files.length === 0) return { folder: undefined, locate: (file) => file };
  let folder = path.dirname(files[0]!);
  const holds = (file: string) => !path.relative(folder, file).startsWith("..");
  while (!files.every(holds) && folder !== path.dirname(folder)) folder = path.dirname(folder);
  return { folder, locate: (file) => path.relative(folder, file).split(path.sep).join("/") };
};

export const derivesWeights: HostModule["derivesWeights"] = true;

const derivedFiles = new Set<string>();
let derivedCount = 0;

/** Files are named after the process, so that those of a killed one can be told and removed. */
const derivedName = /^diffsight-(\d+)-\d+\.weights(\.unfinished)?$/;

export const derivedFile: HostModule["derivedFile"] = () => {
  if (derivedCount === 0) {
    process.on("exit", () => derivedFiles.forEach(discardDerived));
    removeOrphans();
  }
  const file = path.join(realpathSync(tmpdir()), `diffsight-${process.pid}-${derivedCount++}.weights`);
  derivedFiles.add(file);
  return file;
};

export const discardDerived: HostModule["discardDerived"] = (file) => {
  rmSync(file, { force: true });
  rmSync(`${file}.unfinished`, { force: true });
  derivedFiles.delete(file);
};

/** Removes what processes that were killed left behind. */
function removeOrphans(): void {
  for (const name of readdirSync(tmpdir())) {
    const owner = derivedName.exec(name)?.[1];
    if (owner === undefined || isAlive(Number(owner))) continue;
    rmSync(path.join(tmpdir(), name), { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
