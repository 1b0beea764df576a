/** @file A peer: diffusers, transformers, torch or llama.cpp in a process that stays loaded and works only when told to. */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Names the Python interpreter in which the peer is installed. */
export const peerVariable = "DIFFSIGHT_PEER_PYTHON";

export const installPeer = `python3 -m venv bench/peers/.venv && bench/peers/.venv/bin/pip install -r bench/peers/requirements.txt && export ${peerVariable}=bench/peers/.venv/bin/python`;

export const installLlamaCpp =
  "npm install --prefix bench/peers/llama-cpp --no-package-lock --ignore-scripts --omit=optional";

export interface PeerInfo {
  versions: Record<string, string>;
  threads: number;
  /** The instruction set that its kernels use. */
  capability: string;
}

/** What the peer can do; see the heads of the scripts in peers/. */
export interface PeerWork {
  work: string;
  /** Safetensors file with the tensors to work on. */
  inputs?: string;
  timestep?: number;
  prompt?: string;
  image?: string;
  /** Where `extract` writes its features. */
  features?: string;
  /** The stage of a recipe whose steps are done. */
  stage?: object;
  /** How many. */
  steps?: number;
  /** A language model, its layers that are used, and tokens to read, to say, and to have read before. */
  model?: string;
  layers?: number;
  read?: number;
  said?: number;
  context?: number;
}

const scriptOf = (name: string) => fileURLToPath(new URL(`peers/${name}`, import.meta.url));

export class Peer {
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #lines: Interface;

  private constructor(process: ChildProcess) {
    this.#process = process;
    this.#lines = createInterface({ input: process.stdout! });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  /** Starts the interpreter that the environment names; undefined when it names none. */
  static async start(
    folder: string,
    threads: number,
    name: "diffusers_peer" | "training_peer" | "language_peer" = "diffusers_peer",
  ): Promise<{ peer: Peer; info: PeerInfo } | undefined> {
    const python = process.env[peerVariable];
    if (!python) return undefined;
    return Peer.#spawn(python, scriptOf(`${name}.py`), { folder, threads });
  }

  /** Starts llama.cpp; undefined when it is not installed. */
  static async startLlamaCpp(threads: number): Promise<{ peer: Peer; info: PeerInfo } | undefined> {
    if (!existsSync(scriptOf("llama-cpp/node_modules"))) return undefined;
    return Peer.#spawn(process.execPath, scriptOf("llama-cpp/peer.js"), { threads });
  }

  static async #spawn(command: string, script: string, open: { threads: number; folder?: string }) {
    const threads = String(open.threads);
    const child = spawn(command, [script], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, OMP_NUM_THREADS: threads, MKL_NUM_THREADS: threads },
    });
    const peer = new Peer(child);
    return { peer, info: await peer.#ask<PeerInfo>({ call: "open", ...open }) };
  }

  /** Writes the first layers of a language model for llama.cpp, once. @returns the file */
  async gguf(model: string, layers: number): Promise<string> {
    return (await this.#ask<{ file: string }>({ call: "gguf", model, layers })).file;
  }

  /** Loads what the work needs and finds its fastest way; tells which. */
  async prepare(work: PeerWork): Promise<string> {
    return (await this.#ask<{ way: string }>({ call: "prepare", ...work })).way;
  }

  /** @param output where to write the results, if anywhere @returns seconds, measured inside the peer */
  async run(work: PeerWork, output?: string): Promise<number> {
    return (await this.#ask<{ seconds: number }>({ call: "run", ...work, ...(output && { output }) }))
      .seconds;
  }

  /** Frees the models. */
  async close(): Promise<void> {
    await this.#ask({ call: "close" });
  }

  end(): void {
    this.#lines.close();
    this.#process.stdin!.end();
    this.#process.kill();
  }

  async #ask<T>(request: object): Promise<T> {
    this.#process.stdin!.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`The peer ended (exit ${this.#process.exitCode}).`);
    const answer = JSON.parse(value) as T & { error?: string };
    if (answer.error) throw new Error(`The peer failed: ${answer.error}`);
    return answer;
  }
}
