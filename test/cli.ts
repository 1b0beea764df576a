/** @file Runs the command as a user types it, in a process of its own. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";

export const root = fileURLToPath(new URL("..", import.meta.url));

export interface Finished {
  /** Exit status; null when a signal ended it. */
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  bytes: Buffer;
}

export interface Running {
  child: ChildProcess;
  done: Promise<Finished>;
}

export interface StartOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** A file to write to. */
  stdout?: string;
  /** No file may grow larger than so many kilobytes: a disk that is full for some. */
  fileLimit?: number;
}

const running = new Set<ChildProcess>();

// A test that its time limit has ended leaves its command behind.
afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts `diffsight` with these arguments, from the checkout's sources. */
export function start(
  args: readonly string[],
  { cwd = root, env = {}, stdout, fileLimit }: StartOptions = {},
): Running {
  // tsx is found from the checkout, wherever the command runs.
  const flags = [
    "--conditions=source",
    "--import",
    import.meta.resolve("tsx"),
    path.join(root, "src/cli/main.ts"),
  ];
  const command = [process.execPath, ...flags, ...args];
  // The shell counts blocks of 512 bytes.
  const limited = ["sh", "-c", `ulimit -f ${2 * (fileLimit ?? 0)}; exec "$@"`, "sh", ...command];
  const [program, ...rest] = fileLimit === undefined ? command : limited;
  const child = spawn(program!, rest, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["pipe", stdout === undefined ? "pipe" : openSync(stdout, "w"), "pipe"],
  });
  running.add(child);
  const done = new Promise<Finished>((resolve, reject) => {
    const out: Buffer[] = [];
    let stderr = "";
    child.stdout?.on("data", (part: Buffer) => out.push(part));
    child.stderr!.on("data", (part: Buffer) => {
      stderr += part;
    });
    child.on("error", reject);
    child.on("close", (status, signal) => {
      running.delete(child);
      const bytes = Buffer.concat(out);
      resolve({ status, signal, stdout: bytes.toString(), stderr, bytes });
    });
  });
  return { child, done };
}

/** Runs to the end; `input` goes to stdin. */
export function run(
  args: readonly string[],
  { input, ...options }: StartOptions & { input?: Uint8Array } = {},
): Promise<Finished> {
  const { child, done } = start(args, options);
  child.stdin!.on("error", () => {});
  child.stdin!.end(input);
  return done;
}

/** A folder that is gone after the file's tests. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), "diffsight-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
