/** @file What the diffusion room asks of a browser. */

import { misuse } from "../tensor/index.js";
import type * as node from "./node.js";

/** In the browser a model is always named by its address. */
export const embeddedModel: typeof node.embeddedModel = () => {
  throw misuse("MODEL", "Name the model: the address of a pipeline folder, as /models/sd.");
};

let nameless = 0;

/** Pages from plain http have no hashes: there every picture counts as new. */
export const fingerprint: typeof node.fingerprint = async (bytes) => {
  if (!isSecureContext) return `${nameless++}`;
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
};
