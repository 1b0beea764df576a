/** @file What the engine asks of the place it runs in: node.ts and web.ts implement it. */

import type { DerivedPart, FileRange } from "../graph/index.js";
import type { Dims, Tensor } from "../tensor/index.js";

export type Device = "cpu" | "webgpu" | "cuda";

/** How weights are held: see docs/design.md, memory presets. */
export type Preset = "fast" | "mmap" | "low";

/** Tensors by name: plain data that can be sent to another process. */
export type Feeds = Record<string, Tensor>;

export interface SessionRequest {
  model: Uint8Array;
  /** The folder that the model's external data is relative to. */
  folder?: string | undefined;
  buffers: { location: string; bytes: Uint8Array }[];
  /** Weights in memory for which the model names a file, to be written before the session is made. */
  copies: { file: string; bytes: Uint8Array }[];
  /** The weights in files, for a host that must fetch them. */
  ranges: FileRange[];
  /** Weights to be computed before the session is made, and the file that they are kept in. */
  derived?: { file: string; bytes: number; parts: DerivedPart[] } | undefined;
  device: Device;
  preset: Preset;
  /** Its weights are to be packed whatever the preset says. */
  packs?: boolean | undefined;
  /** The model runs node by node as it is written, in the order that keeps little in memory. */
  asWritten?: boolean | undefined;
  threads: number;
  /** Writes the runtime's own trace of every node to a file with this prefix. */
  profile?: string | undefined;
}

/** Rows that an output adds to those that an input reads. */
export interface KeptTensor {
  input: string;
  output: string;
  /** Of one row. */
  dims: Dims;
}

/** Rows kept beside the sessions, as one run uses them: it reads the first `at` and writes its own after them. */
export interface KeptRun {
  id: number;
  at: number;
  tensors: readonly KeptTensor[];
}

/** One place where sessions live; `kill` ends it and everything in it at once. */
export interface Host {
  /** False once it was ended, or ended by itself: its sessions are gone for good. */
  readonly alive: boolean;
  create(request: SessionRequest): Promise<number>;
  /**
   * @param into tensors to write outputs to, by name
   * @param kept rows that are fed beside the feeds; outputs that add to them are not among the results
   */
  run(session: number, feeds: Feeds, into?: Feeds, kept?: KeptRun): Promise<Feeds>;
  /** Forgets kept rows. */
  drop(kept: number): Promise<void>;
  release(session: number): Promise<void>;
  kill(): void;
}

/** What trying a device out told. */
export interface Probe {
  /** Why no session can be made on it, as a sentence. */
  obstacle?: string;
  /** Whether its fused attention is right: that of graphics cards with groups of 4 threads is not. */
  fusedAttention: boolean;
}

/** Where a browser finds what it runs on. */
export interface RuntimeOptions {
  /** The web server's folder of onnxruntime-web's .wasm and .mjs files. Default: where the bundler put them. */
  wasmPaths?: string | URL | undefined;
}

export interface HostModule {
  configureHost(options: RuntimeOptions): void;
  /**
   * @param frugal gives memory back at once, at the price of asking for it again
   * @param here in the calling thread, where a run cannot be stopped
   */
  openHost(options?: { frugal?: boolean; here?: boolean }): Host;
  probe(device: Device): Promise<Probe>;
  /** Bytes that can still be used without swapping. */
  availableMemory(): number;
  hardwareThreads(): number;
  /** Whether the runtime opens weight files itself; else it is handed their ranges. */
  readonly opensFiles: boolean;
  /** Whether sessions can be given derived weights here. */
  readonly derivesWeights: boolean;
  /** A place for derived weights that nothing else uses. */
  derivedFile(): string;
  discardDerived(file: string): void;
  /** The folder that holds all the files, and where each lies in it. */
  commonFolder(files: readonly string[]): { folder: string | undefined; locate(file: string): string };
}
