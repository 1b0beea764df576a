// Starts the process from a checkout, where its program is TypeScript and needs the loader first.
import { register } from "tsx/esm/api";

register();
await import("./process.ts");
