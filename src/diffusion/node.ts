/** @file Where the embedded model lies in Node. */

import { fileURLToPath } from "node:url";

/** The pipeline folder that is used when no model is named. */
export const embeddedModel: () => string = () =>
  fileURLToPath(new URL("../../assets/micro/sd", import.meta.url));
