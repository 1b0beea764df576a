/** @file The models that come with the package, under names that hold wherever it lies: "embedded:sd". */

import * as host from "#host/weights";

const prefix = "embedded:";

/**
 * The folder of one of the package's own models.
 * @param reference `embedded:<name>`, or a folder in it, `embedded:vlm/llm`; anything else is given back as it is
 * @throws misuse MODEL_MISSING for a name that the package does not have
 */
export function modelPath(reference: string): string {
  return reference.startsWith(prefix) ? host.embeddedModel(reference.slice(prefix.length)) : reference;
}

/** What `modelPath` takes: "embedded:sd" ...; in a page there are none. */
export const embeddedModels = (): string[] => host.embeddedNames().map((name) => `${prefix}${name}`);
