/**
 * @file Language models of 4 bits by llama.cpp. One JSON request a line on stdin, one JSON answer a line on stdout.
 *
 * {"call": "open", "threads": N}                                   -> versions, the instruction set of the kernels
 * {"call": "prepare", "model": FILE, "said": S, "context": C}      -> {"way": ...}; FILE: a GGUF
 * {"call": "run", "said": S, "context": C}                         -> {"seconds": of S tokens one by one, after C}
 * {"call": "close"}                                                -> frees the models
 */

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { getLlama } from "node-llama-cpp";

const { dependencies } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));

let llama;
let threads;
/** File -> the model, its context and its one sequence. */
const models = new Map();

/** The first C tokens are read anew each time; the S after them are the likeliest, one by one. */
async function speak({ model: file, said, context: before }) {
  const { model, sequence } = models.get(file);
  const vocabulary = model.fileInfo.metadata.llama.vocab_size;
  await sequence.clearHistory();
  const prompt = Array.from({ length: before }, (_, i) => ((i + 1) * 7919) % vocabulary);
  const tokens = sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true });
  await tokens.next();
  const start = performance.now();
  for (let i = 0; i < said; i++) {
    const { done } = await tokens.next();
    if (done) throw new Error(`llama.cpp ended after ${i} tokens`);
  }
  const seconds = (performance.now() - start) / 1000;
  await tokens.return();
  return seconds;
}

const calls = {
  async open({ threads: wanted }) {
    threads = wanted;
    llama = await getLlama({ gpu: false, build: "never", maxThreads: threads, logLevel: "error" });
    return {
      versions: {
        "node-llama-cpp": dependencies["node-llama-cpp"],
        "llama.cpp": llama.llamaCppRelease.release,
      },
      threads,
      capability: llama.systemInfo,
    };
  },
  async prepare({ model: file, said, context: before }) {
    const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
    const context = await model.createContext({
      contextSize: before + said + 8,
      batchSize: before + said + 8,
      threads: { ideal: threads, min: threads },
    });
    models.set(file, { model, context, sequence: context.getSequence() });
    return { way: "llama.cpp, Q4_0" };
  },
  run: async (request) => ({ seconds: await speak(request) }),
  async close() {
    for (const { model, context } of models.values()) {
      await context.dispose();
      await model.dispose();
    }
    models.clear();
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { call, ...request } = JSON.parse(line);
  const reply = await calls[call](request).catch((error) => ({ error: String(error?.message ?? error) }));
  console.log(JSON.stringify(reply));
}
