/** @file Compiles graphs to programs and runs them, one at a time, where the host keeps its sessions. */

import {
  availableMemory,
  commonFolder,
  configureHost,
  derivedFile,
  derivesWeights,
  discardDerived,
  hardwareThreads,
  openHost,
  opensFiles,
  probe,
} from "#host/engine";
import {
  cpuKernels,
  type EncodedGraph,
  type EncodeOptions,
  encodeForAnySize,
  encodeGraph,
  fastKernels,
  type GraphWriter,
  type Kernels,
  type OpenDims,
  plainKernels,
  steadyThreads,
  unfusedKernels,
  type Value,
  webgpuKernels,
} from "../graph/index.js";
import { aborted, type DType, formatDims, misuse, type Tensor } from "../tensor/index.js";
import type { Device, Feeds, Host, Preset, RuntimeOptions, SessionRequest } from "./host.js";
import type { KeptRows } from "./kept.js";

export interface EngineOptions {
  /** Where to compute; `auto` takes the first of CUDA, WebGPU and CPU on which a session really can be made. */
  device?: "auto" | Device;
  /** How weights are held; `auto` goes by the number of passes expected and the free memory. */
  memory?: "auto" | Preset;
  /** Threads of the CPU kernels; default: all. */
  threads?: number;
  /** How often a program is expected to run; steers `memory: "auto"`. */
  passes?: number;
  /** Replaces the table that chooses algorithms. */
  kernels?: Kernels;
  /** Writes the runtime's trace of every session to files with this prefix. */
  profile?: string;
  /**
   * Where sessions live in Node: a process of their own, whose work can be cancelled at any moment (default), or the
   * calling thread, which a run blocks to its end, but where tensors of `alignedTensors` are used without a copy. In a
   * page it is always the calling thread.
   */
  host?: "process" | "here";
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
}

export interface RunOptions extends CallOptions {
  /** Tensors to write outputs to, by name: memory of `alignedTensors` is written without a copy. */
  into?: Feeds;
  /** Rows of earlier runs to read, and how many of them; the run's own are written after those. */
  kept?: { rows: KeptRows; at: number };
}

/** Whether a tensor's shape is one of those; a name stands for one size wherever it occurs. */
function fits(dims: readonly number[], wanted: OpenDims, sizes: Map<string, number>): boolean {
  return (
    dims.length === wanted.length &&
    dims.every((size, axis) => {
      const name = wanted[axis]!;
      if (typeof name === "number") return size === name;
      const known = sizes.get(name);
      if (name !== "?" && known === undefined) sizes.set(name, size);
      return known === undefined || known === size;
    })
  );
}

/** Weights derived for `fast` take about this many times their own bytes while a session is made. */
const fastFactor = 3.5;

/** Sessions for `fast` pay for themselves after about this many passes. */
const fastPasses = 4;

export const devices = ["cpu", "webgpu", "cuda"] as const satisfies readonly Device[];
export const presets = ["fast", "mmap", "low"] as const satisfies readonly Preset[];

/**
 * Tells the library, before it opens its first model, where a web server has the WebAssembly of onnxruntime-web. Node
 * has its runtime beside the package: there this does nothing.
 * @throws DiffsightError RUNTIME_STARTED when a model has been opened already
 */
export function configureRuntime(options: RuntimeOptions): void {
  configureHost(options);
}

/** A graph ready to run. Its session is made on first use, and again after a cancelled run ended the host. */
export class Program {
  #session: { host: Host; id: number } | undefined;

  /** @internal */
  constructor(
    readonly engine: Engine,
    readonly inputs: readonly { name: string; dims: OpenDims }[],
    readonly outputs: readonly { name: string; dims: OpenDims; dtype: DType }[],
    readonly request: SessionRequest,
    readonly parameterBytes: number,
  ) {}

  /** @param feeds name of each input -> tensor of exactly its shape */
  async run(feeds: Feeds, { signal, into = {}, kept }: RunOptions = {}): Promise<Record<string, Tensor>> {
    const sizes = new Map<string, number>();
    const isKept = new Set(kept?.rows.tensors.map(({ input }) => input));
    for (const { name, dims } of this.inputs) {
      if (isKept.has(name)) continue;
      const given = feeds[name];
      if (!given || !fits(given.dims, dims, sizes)) {
        const found = given ? formatDims(given.dims) : "nothing";
        const open = [...sizes].map(([size, value]) => `${size} = ${value}`).join(", ");
        const where = open && ` where ${open}`;
        throw misuse("SHAPE", `Input ${name} must be [${dims.join(", ")}]${where}, not ${found}.`);
      }
    }
    for (const [name, { dims, dtype }] of Object.entries(into)) {
      const made = this.outputs.find((output) => output.name === name);
      if (!made || !fits(dims, made.dims, sizes) || made.dtype !== dtype) {
        const wanted = made ? `is ${made.dtype} [${made.dims.join(", ")}]` : "does not exist";
        throw misuse("SHAPE", `Output ${name} ${wanted}, its place is ${dtype} ${formatDims(dims)}.`);
      }
    }
    return this.engine.exclusive(signal, async (host) => {
      const session = await this.#open(host);
      return host.run(session, feeds, into, kept?.rows.on(host, kept.at));
    });
  }

  /** Makes the session now rather than on the first run. */
  async prepare({ signal }: CallOptions = {}): Promise<void> {
    await this.engine.exclusive(signal, (host) => this.#open(host));
  }

  async release(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    const { derived, copies } = this.request;
    for (const { file } of derived ? [derived, ...copies] : copies) discardDerived(file);
    if (session) await this.engine.release(session.host, session.id);
  }

  async #open(host: Host): Promise<number> {
    if (this.#session?.host !== host) this.#session = { host, id: await host.create(this.request) };
    return this.#session.id;
  }
}

/** Owns the host in which sessions live. */
export class Engine {
  #host: Host | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;
  readonly #derived = new Set<string>();

  private constructor(
    readonly device: Device,
    readonly fusedAttention: boolean,
    readonly threads: number,
    readonly options: Readonly<EngineOptions>,
  ) {}

  /**
   * @throws DiffsightError DEVICE when the device is unknown or no session can be made on it
   */
  static async open(options: EngineOptions = {}): Promise<Engine> {
    const { device = "auto", memory = "auto", threads = hardwareThreads() } = options;
    if (device !== "auto" && !devices.includes(device)) {
      throw misuse("DEVICE", `Unknown device "${device}": allowed are auto, ${devices.join(", ")}.`);
    }
    if (memory !== "auto" && !presets.includes(memory)) {
      throw misuse(
        "MEMORY_PRESET",
        `Unknown memory preset "${memory}": allowed are auto, ${presets.join(", ")}.`,
      );
    }
    if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
      throw misuse("THREADS", `threads must be a whole number from 1 to 1024, not ${threads}.`);
    }
    const chosen = await chooseDevice(device);
    return new Engine(chosen.device, chosen.fusedAttention, threads, options);
  }

  /**
   * Writes the graph of `outputs` for this engine's device.
   * @param given values that are fed under a name instead of computed
   */
  compile(
    outputs: Readonly<Record<string, Value>>,
    { given = new Map() }: { given?: ReadonlyMap<Value, string> } = {},
  ): Program {
    return this.#compile((options) => encodeGraph(outputs, { ...options, given }));
  }

  /**
   * Writes one graph whose sizes of these names are told by what each run is fed.
   * @param write gives the outputs for given sizes: it is called with several, and weights in memory are to be the same
   *   bytes each time
   * @throws DiffsightError GRAPH for operations whose nodes depend on a size
   */
  compileForAnySize<Name extends string>(sizes: readonly Name[], write: GraphWriter<Name>): Program {
    return this.#compile((options) => encodeForAnySize(sizes, write, options));
  }

  #compile(encode: (options: EncodeOptions) => EncodedGraph): Program {
    const draft = encode({});
    const preset = this.#preset(draft.parameterBytes);
    const kernels = this.options.kernels ?? this.#kernels(preset);
    const file = preset === "fast" && derivesWeights ? derivedFile() : undefined;
    // A runtime that opens files cannot be handed bytes beside them: what lies in memory gets a file.
    const placed = new Map(opensFiles ? draft.buffers.map(({ bytes }) => [bytes, derivedFile()]) : []);
    const files = new Set([...draft.ranges.map((range) => range.file), ...placed.values()]);
    if (file !== undefined) files.add(file);
    const { folder, locate } = commonFolder([...files]);
    const graph = encode({
      locate,
      kernels,
      placed,
      handed: !opensFiles,
      ...(file && { derivedLocation: locate(file) }),
    });
    const { model, buffers, ranges, derived, packs } = graph;
    const { device } = this;
    // More would change the bits of what is computed with weights in place.
    const threads = preset === "fast" ? this.threads : Math.min(this.threads, steadyThreads);
    const { profile } = this.options;
    const prepared = file !== undefined && derived.bytes > 0 ? { ...derived, file } : undefined;
    const copies = [...placed].map(([bytes, file]) => ({ bytes, file }));
    for (const one of prepared ? [prepared, ...copies] : copies) this.#derived.add(one.file);
    const weights = { buffers, ranges, copies, derived: prepared };
    const asWritten = kernels.merges;
    const request = { model, folder, ...weights, device, preset, packs, asWritten, threads, profile };
    return new Program(this, graph.inputs, graph.outputs, request, draft.parameterBytes);
  }

  #kernels(preset: Preset): Kernels {
    if (!this.fusedAttention) return unfusedKernels;
    if (this.device !== "cpu") return this.device === "webgpu" ? webgpuKernels : plainKernels;
    return preset === "fast" && derivesWeights ? fastKernels : cpuKernels;
  }

  #preset(parameterBytes: number): Preset {
    const { memory = "auto", passes = Number.POSITIVE_INFINITY } = this.options;
    if (memory !== "auto") return memory;
    return passes >= fastPasses && parameterBytes * fastFactor < availableMemory() / 2 ? "fast" : "mmap";
  }

  /**
   * Runs work alone on the host, after what was asked before. When the signal fires the promise rejects at once; a host
   * in the middle of the work is ended, and the next work gets a new one.
   * @internal
   */
  exclusive<T>(signal: AbortSignal | undefined, work: (host: Host) => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(misuse("CLOSED", "This model was released."));
    let busy: Host | undefined;
    const turn = this.#queue.then(async () => {
      if (signal?.aborted) throw aborted();
      const { memory, host } = this.options;
      if (!this.#host?.alive) this.#host = openHost({ frugal: memory === "low", here: host === "here" });
      busy = this.#host;
      try {
        return await work(busy);
      } finally {
        busy = undefined;
      }
    });
    this.#queue = turn.catch(() => {});
    if (!signal) return turn;
    return new Promise((resolve, reject) => {
      const cancel = () => {
        busy?.kill();
        reject(aborted());
      };
      if (signal.aborted) cancel();
      signal.addEventListener("abort", cancel, { once: true });
      turn.then(resolve, reject).finally(() => signal.removeEventListener("abort", cancel));
    });
  }

  /**
   * Frees a session, unless its host is gone already.
   * @internal
   */
  async release(host: Host, session: number): Promise<void> {
    if (this.#closed || !host.alive) return;
    await this.exclusive(undefined, async (current) => {
      if (current === host) await host.release(session);
    });
  }

  /**
   * Forgets kept rows, unless their host is gone already.
   * @internal
   */
  async drop(host: Host, kept: number): Promise<void> {
    if (this.#closed || !host.alive) return;
    await this.exclusive(undefined, async (current) => {
      if (current === host) await host.drop(kept);
    });
  }

  /** Waits for what was asked before, ends the host and frees everything in it. */
  async dispose(): Promise<void> {
    this.#closed = true;
    await this.#queue;
    this.#host?.kill();
    this.#host = undefined;
    for (const file of this.#derived) discardDerived(file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

async function chooseDevice(wanted: "auto" | Device): Promise<{ device: Device; fusedAttention: boolean }> {
  const candidates = wanted === "auto" ? (["cuda", "webgpu", "cpu"] as const) : [wanted];
  let obstacle: string | undefined;
  for (const device of candidates) {
    const found = await probe(device);
    if (found.obstacle === undefined) return { device, fusedAttention: found.fusedAttention };
    obstacle = found.obstacle;
  }
  throw misuse("DEVICE", `Nothing can run on the device "${wanted}" here: ${obstacle} Allowed: auto, cpu.`);
}
