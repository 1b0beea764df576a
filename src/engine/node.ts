/** @file The engine's host in Node: sessions of onnxruntime-node in a process of their own. */

import { type ChildProcess, fork } from "node:child_process";
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { availableParallelism, freemem, tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { threadId } from "node:worker_threads";
import { DiffsightError, failure, Tensor, type TensorData } from "../tensor/index.js";
import type { PlainTensor } from "./convert.js";
import type { Device, Feeds, Host, HostModule, KeptRun, SessionRequest } from "./host.js";
import { tryOut } from "./probe.js";
import type { Call, Reply } from "./process.js";

type WithoutId<T> = T extends { id: number } ? Omit<T, "id"> : never;

/** The process's program; from a checkout it is TypeScript and needs its loader first. */
const program = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "./process-source.mjs" : "./process.js", import.meta.url),
);

/** Processes that would outlive this one in the middle of a run. */
const running = new Set<ChildProcess>();

/** Buffers above this go back to the system as soon as they are free, where the C library knows these names. */
const frugalMemory = { MALLOC_MMAP_THRESHOLD_: "65536", MALLOC_TRIM_THRESHOLD_: "65536" };

function start(frugal: boolean): ChildProcess {
  if (running.size === 0) process.once("exit", endAll);
  const child = fork(program, {
    serialization: "advanced",
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    execArgv: [],
    env: { ...process.env, ...(frugal && frugalMemory), NODE_OPTIONS: "" },
  });
  running.add(child);
  child.once("exit", () => {
    running.delete(child);
    if (running.size === 0) process.off("exit", endAll);
  });
  return child;
}

function endAll(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** Whether this process stays alive for a child: only while it waits for an answer. */
function hold(child: ChildProcess, wanted: boolean): void {
  for (const one of [child, child.channel]) wanted ? one?.ref() : one?.unref();
}

export const openHost: HostModule["openHost"] = ({ frugal = false, here = false } = {}) =>
  here ? openHere() : openProcess(frugal);

function openProcess(frugal: boolean): Host {
  let child: ChildProcess | undefined;
  let death: string | undefined;
  let next = 0;
  const waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();

  const die = (message: string) => {
    death ??= message;
    for (const { reject } of waiting.values()) reject(failure("ENGINE_DIED", death));
    waiting.clear();
  };

  const open = (): ChildProcess => {
    const opened = start(frugal);
    opened.on("message", (reply: Reply) => {
      const call = waiting.get(reply.id);
      waiting.delete(reply.id);
      if (waiting.size === 0) hold(opened, false);
      if ("error" in reply) call?.reject(failure("ENGINE", reply.error));
      else call?.resolve(reply.result);
    });
    opened.on("error", (error) => die(`The process that computes failed: ${error.message}.`));
    opened.on("exit", (code, signal) => {
      const how = signal === "SIGKILL" ? "was killed; perhaps memory ran out" : `ended (${signal ?? code})`;
      die(`The process that computes ${how}.`);
    });
    return opened;
  };

  const call = <T>(message: WithoutId<Call>): Promise<T> => {
    if (death !== undefined) return Promise.reject(failure("ENGINE_DIED", death));
    const to = (child ??= open());
    const id = ++next;
    return new Promise<T>((resolve, reject) => {
      to.send({ id, ...message });
      waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      hold(to, true);
    });
  };

  return {
    get alive() {
      return death === undefined;
    },
    create: async ({ copies, ...request }: SessionRequest) => {
      for (const { file, bytes } of copies) await writeOnce(file, bytes);
      return call<number>({ kind: "create", request: { ...request, copies: [] } });
    },
    run: async (session: number, feeds: Feeds, into: Feeds = {}, kept?: KeptRun) => {
      const results = await call<Record<string, PlainTensor>>({ kind: "run", session, feeds, kept });
      return mapTensors(results, (name, { dtype, dims, data }) => {
        const target = into[name];
        if (!target) return new Tensor(dtype, dims, ownData(data));
        target.data.set(data as never);
        return target;
      });
    },
    drop: (kept: number) => call<void>({ kind: "drop", kept }),
    release: (session: number) => call<void>({ kind: "release", session }),
    kill: () => {
      die("The process that computes was ended.");
      child?.kill("SIGKILL");
    },
  };
}

/** Sessions in the calling thread: no copy of feeds that lie aligned, none of outputs that have a place. */
function openHere(): Host {
  let alive = true;
  const open = new Set<number>();
  // Loaded when first needed: it is the runtime itself.
  const sessions = () => import("./sessions.js");
  const explained = (error: unknown) =>
    error instanceof DiffsightError ? error : failure("ENGINE", (error as Error).message, error);
  return {
    get alive() {
      return alive;
    },
    create: async ({ copies, ...request }: SessionRequest) => {
      for (const { file, bytes } of copies) await writeOnce(file, bytes);
      const { createSession } = await sessions();
      try {
        const id = await createSession({ ...request, copies: [] });
        open.add(id);
        return id;
      } catch (error) {
        throw explained(error);
      }
    },
    run: async (session: number, feeds: Feeds, into: Feeds = {}, kept?: KeptRun) => {
      const { runSession } = await sessions();
      try {
        const results = await runSession(session, feeds, into, kept);
        return mapTensors(
          results,
          (name, { dtype, dims, data }) => into[name] ?? new Tensor(dtype, dims, data),
        );
      } catch (error) {
        throw explained(error);
      }
    },
    drop: async (kept: number) => (await sessions()).dropRows(kept),
    release: async (session: number) => {
      open.delete(session);
      await (await sessions()).releaseSession(session);
    },
    kill() {
      alive = false;
      const left = [...open];
      open.clear();
      if (left.length === 0) return;
      sessions().then(async ({ releaseSession }) => {
        for (const session of left) await releaseSession(session);
      });
    },
  };
}

function mapTensors(
  tensors: Record<string, PlainTensor>,
  map: (name: string, tensor: PlainTensor) => Tensor,
): Feeds {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, map(name, tensor)]));
}

async function writeOnce(file: string, bytes: Uint8Array): Promise<void> {
  if (existsSync(file)) return;
  await writeFile(`${file}.unfinished`, bytes, { mode: 0o600 });
  await rename(`${file}.unfinished`, file);
}

/** What arrives is a view of the whole message, which would live as long as the smallest part of it. */
function ownData(data: TensorData): TensorData {
  return data.byteLength * 2 > data.buffer.byteLength ? data : data.slice();
}

export const configureHost: HostModule["configureHost"] = () => {};

export const probe: HostModule["probe"] = async (device: Device) => {
  if (device === "cpu") return { fusedAttention: true };
  // Without a device node of a graphics card there is nothing that a session could find, but a driver may be named.
  const drivers = ["/dev/dri", "/dev/nvidia0", "/dev/nvidiactl"];
  const { VK_DRIVER_FILES, VK_ICD_FILENAMES } = process.env;
  const named = VK_DRIVER_FILES || VK_ICD_FILENAMES;
  if (process.platform === "linux" && !named && !drivers.some((file) => existsSync(file))) {
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

/** Files are named after the process and its thread, so that those of a killed one can be told and removed. */
const derivedName = /^diffsight-(\d+)-[\d-]+\.weights(\.unfinished)?$/;

export const derivedFile: HostModule["derivedFile"] = () => {
  if (derivedCount === 0) {
    process.on("exit", () => derivedFiles.forEach(discardDerived));
    removeOrphans();
  }
  const name = `diffsight-${process.pid}-${threadId}-${derivedCount++}.weights`;
  const file = path.join(realpathSync(tmpdir()), name);
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
