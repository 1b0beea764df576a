/** @file Threads that do what they are asked, one call after the other: both of their ends. */

import { fileURLToPath } from "node:url";
import { parentPort, Worker } from "node:worker_threads";
import { DiffsightError, failure } from "../tensor/index.js";

type Reply =
  | { result: unknown }
  | { error: { code: string; message: string; misuse: boolean; stack: string | undefined } };

/** From a checkout programs are TypeScript and need their loader first. */
const source = import.meta.url.endsWith(".ts");

/** A thread, seen from the one that started it. */
export class Thread<Call extends { kind: string }> {
  readonly #worker: Worker;
  #waiting: { resolve(result: unknown): void; reject(error: Error): void } | undefined;
  #end: Error | undefined;

  /**
   * @param program its module beside this one, without the ending
   * @param data what it finds as `workerData`
   */
  constructor(program: string, data: object) {
    const module = new URL(`./${program}.${source ? "ts" : "js"}`, import.meta.url);
    const entry = source ? new URL("./worker-source.mjs", import.meta.url) : module;
    this.#worker = new Worker(entry, {
      name: program,
      workerData: { ...data, program: fileURLToPath(module) },
      // A checkout's own conditions lead to its TypeScript.
      ...(source && { execArgv: ["--conditions=source"] }),
    });
    this.#worker.on("message", (reply: Reply) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (!("error" in reply)) return waiting?.resolve(reply.result);
      const { code, message, misuse, stack } = reply.error;
      const error = new DiffsightError(code, message, { misuse });
      if (stack !== undefined) error.stack = stack;
      waiting?.reject(error);
    });
    const fail = (message: string, cause?: unknown) => {
      this.#end ??= failure("THREAD_DIED", message, cause);
      this.#waiting?.reject(this.#end);
    };
    this.#worker.on("error", (error) => fail(`A thread failed: ${error.message}`, error));
    this.#worker.on("exit", (code) => fail(`A thread ended (${code}).`));
  }

  /** To be awaited before the next call. */
  call<T>(call: Call): Promise<T> {
    if (this.#end) return Promise.reject(this.#end);
    return new Promise<T>((resolve, reject) => {
      this.#waiting = { resolve: resolve as (result: unknown) => void, reject };
      this.#worker.postMessage(call);
    });
  }
}

/** Lets all threads end by themselves, whatever became of their work. */
export async function closeThreads(threads: readonly Thread<{ kind: "close" }>[]): Promise<void> {
  await Promise.all(threads.map((thread) => thread.call({ kind: "close" }).catch(() => {})));
}

/** In a thread: answers calls until the one to close, after which nothing keeps the thread alive. */
export function answerCalls<Call extends { kind: string }>(
  handle: (call: Exclude<Call, { kind: "close" }>) => Promise<unknown>,
  close: () => Promise<void>,
): void {
  const port = parentPort!;
  const answer = async (call: Call): Promise<Reply> => {
    try {
      if (call.kind !== "close") {
        return { result: await handle(call as Exclude<Call, { kind: "close" }>) };
      }
      await close();
      return { result: undefined };
    } catch (thrown) {
      const error = thrown as Error;
      const { code, misuse } = error instanceof DiffsightError ? error : { code: "THREAD", misuse: false };
      return { error: { code, misuse, message: error.message, stack: error.stack } };
    }
  };
  port.on("message", async (call: Call) => {
    port.postMessage(await answer(call));
    if (call.kind === "close") port.close();
  });
}
