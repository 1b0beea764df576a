// Starts a worker thread from a checkout, where its program is TypeScript and needs the loader first.
import { workerData } from "node:worker_threads";
import { register } from "tsx/esm/api";

register();
await import(workerData.program);
