/** @file The page of the browser tests: the whole library within reach of what a test evaluates. */

import * as diffsight from "../../../src/index.js";

const startWorker = () => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });

Object.assign(globalThis, { diffsight, startWorker });
