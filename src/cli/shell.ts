/**
 * @file What stands between a verb and the terminal: results on stdout, notes and progress on stderr, files written
 * whole, and an end by Ctrl-C that leaves nothing half done behind.
 */

import { constants, existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { access } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { DiffsightError, failure } from "../tensor/index.js";
import { Progress } from "./progress.js";

/** What every verb lets its user choose about output. */
export interface OutputFlags {
  quiet?: boolean;
  color?: boolean;
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export class Shell {
  /** Milliseconds that work gets to end by itself after Ctrl-C. */
  grace = 700;
  readonly #abort = new AbortController();
  readonly #writing = new Set<string>();
  #signal: (typeof signals)[number] | undefined;
  #quiet = false;
  #colour = process.env.NO_COLOR === undefined;
  #progress: Progress | undefined;

  constructor() {
    for (const signal of signals) process.once(signal, () => this.#interrupt(signal));
    for (const stream of [process.stdout, process.stderr]) {
      stream.on("error", (error: NodeJS.ErrnoException) => {
        this.#removeHalfFiles();
        // Whoever reads has seen enough: `diffsight taps | head`.
        if (error.code === "EPIPE") process.exit(process.exitCode ?? 0);
        if (stream === process.stdout)
          this.error(failure("STDOUT", `Writing to stdout failed: ${error.message}.`));
        process.exit(1);
      });
    }
  }

  /** Fires on Ctrl-C: every long call takes it. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get interrupted(): boolean {
    return this.#signal !== undefined;
  }

  /** Takes the verb's flags; to be called first in its action. */
  configure({ quiet = false, color = true }: OutputFlags): void {
    this.#quiet = quiet;
    this.#colour &&= color;
  }

  // Output

  /** Results. */
  out(text: string): void {
    this.endProgress();
    process.stdout.write(text);
  }

  /** A line of results. */
  line(text = ""): void {
    this.out(`${text}\n`);
  }

  json(value: unknown): void {
    this.line(JSON.stringify(value, null, 2));
  }

  err(text: string): void {
    this.endProgress();
    process.stderr.write(text);
  }

  /** What is worth knowing, unless --quiet. */
  note(text: string): void {
    if (!this.#quiet) this.err(`${text}\n`);
  }

  /** What the user should know even with --quiet: something is not as asked for. */
  warn(text: string): void {
    this.err(`diffsight: warning: ${text}\n`);
  }

  /** One line; the stack too with DIFFSIGHT_DEBUG=1. */
  error(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    const unexpected = !(error instanceof DiffsightError) && error instanceof Error;
    const hint = unexpected ? " (DIFFSIGHT_DEBUG=1 shows where)" : "";
    this.err(`diffsight: ${message.split("\n")[0]}${hint}\n`);
    if (process.env.DIFFSIGHT_DEBUG === "1" && error instanceof Error) this.err(`${error.stack}\n`);
  }

  /** Bold text where the terminal shows it. */
  bold(text: string): string {
    return this.#styled(text, 1, 22);
  }

  /** Text that steps back. */
  dim(text: string): string {
    return this.#styled(text, 2, 22);
  }

  #styled(text: string, on: number, off: number): string {
    return this.#colour && process.stdout.isTTY ? `\u001b[${on}m${text}\u001b[${off}m` : text;
  }

  /** The progress of this command on stderr; silent with --quiet. */
  get progress(): Progress {
    this.#progress ??= new Progress(this.#quiet ? undefined : process.stderr);
    return this.#progress;
  }

  endProgress(): void {
    this.#progress?.clear();
  }

  // Files

  /**
   * Tells before the work that its result could not be written. Nothing is made yet.
   * @throws FILE_ACCESS
   */
  async checkWritable(path: string, { folder = false } = {}): Promise<void> {
    if (path === "-") return;
    const whole = resolve(path);
    let nearest = whole;
    while (!existsSync(nearest)) nearest = dirname(nearest);
    const isFolder = statSync(nearest).isDirectory();
    const problem = (what: string) => failure("FILE_ACCESS", `${path} could not be written: ${what}.`);
    if (isFolder && nearest === whole && !folder) throw problem("it is a folder");
    if (!isFolder && (nearest !== whole || folder)) throw problem(`${nearest} is not a folder`);
    await access(isFolder ? nearest : dirname(nearest), constants.W_OK).catch(() => {
      throw problem("permission denied");
    });
  }

  /** Writes a file whole or not at all; "-" is stdout. */
  async write(path: string, bytes: Uint8Array | string): Promise<void> {
    if (path === "-") {
      this.endProgress();
      await new Promise<void>((resolve) => process.stdout.write(bytes, () => resolve()));
      return;
    }
    const { writeFileAtomic } = await import("../weights/index.js");
    this.#writing.add(path);
    try {
      await writeFileAtomic(path, bytes);
    } finally {
      this.#writing.delete(path);
    }
  }

  // Ctrl-C

  #interrupt(signal: (typeof signals)[number]): void {
    this.#signal = signal;
    this.#abort.abort();
    // A second Ctrl-C, or work that does not end in time, ends the process as it is.
    for (const next of signals) process.once(next, () => this.dieOfSignal());
    setTimeout(() => this.dieOfSignal(), this.grace).unref();
  }

  /** Ends as the shell expects of a program that was interrupted: by the signal itself. */
  dieOfSignal(): void {
    this.endProgress();
    this.#removeHalfFiles();
    const signal = this.#signal ?? "SIGINT";
    for (const one of signals) process.removeAllListeners(one);
    process.kill(process.pid, signal);
  }

  /** Files are written under ".<name>.<random>.tmp" first. */
  #removeHalfFiles(): void {
    for (const path of this.#writing) {
      const [folder, start] = [dirname(path), `.${basename(path)}.`];
      try {
        const left = readdirSync(folder).filter((name) => name.startsWith(start) && name.endsWith(".tmp"));
        for (const name of left) rmSync(join(folder, name), { force: true });
      } catch {
        // The folder was never made.
      }
    }
  }
}
