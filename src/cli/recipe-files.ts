/** @file What verbs that run recipes share: where recipes are, how many threads, and what an interruption leaves. */

import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type DiffsightError, failure, misuse } from "../tensor/index.js";
import type { Shell } from "./shell.js";

const folder = fileURLToPath(new URL("../../recipes", import.meta.url));

/** A path as it is; the name of a recipe or plan that comes along as its path, folders of that name or not. */
export function recipePath(name: string): string {
  const own = join(folder, `${name}.json`);
  const isFile = statSync(name, { throwIfNoEntry: false })?.isFile() ?? false;
  const isNamed = !isFile && extname(name) === "" && basename(name) === name && existsSync(own);
  return isNamed ? own : name;
}

/** @throws failure FILE_MISSING */
export async function readRecipe(name: string): Promise<string> {
  return readFile(recipePath(name), "utf8").catch((cause: NodeJS.ErrnoException) => {
    const what =
      cause.code === "ENOENT" ? "there is no such file, and no recipe of that name" : cause.message;
    throw failure("FILE_MISSING", `${name} cannot be read: ${what}.`, cause);
  });
}

/** @throws misuse THREADS */
export function checkThreads(threads: number): void {
  if (threads < 1 || threads > 1024)
    throw misuse("THREADS", `--threads goes from 1 to 1024, not ${threads}.`);
}

/** Milliseconds that a step, and the checkpoint after Ctrl-C, may take. */
const patience = 120_000;

/** Runs what saves everything when it is interrupted. */
export async function resumable(shell: Shell, run: () => Promise<void>): Promise<void> {
  shell.grace = patience;
  try {
    await run();
  } catch (error) {
    if ((error as DiffsightError).code !== "ABORTED") throw error;
    shell.note("Everything is saved: call it again to go on.");
  }
}
