/** @file What the diffusion room asks of Node. */

import { createHash } from "node:crypto";
import { modelPath } from "../weights/index.js";

/** The pipeline folder that is used when no model is named. */
export const embeddedModel: () => string = () => modelPath("embedded:sd");

/** A name that equal bytes share and others do not. */
export async function fingerprint(bytes: Uint8Array): Promise<string> {
  return createHash("sha256").update(bytes).digest("hex");
}
