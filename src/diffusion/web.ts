/** @file In the browser a model is always named by its address. */

import { misuse } from "../tensor/index.js";

export const embeddedModel: () => string = () => {
  throw misuse("MODEL", "Name the model: the address of a pipeline folder, as /models/sd.");
};
