/** @file Where models by id are kept. */

import * as host from "#host/weights";

/**
 * The folder of the hub's cache, absolute.
 * @param named where the caller wants it; default: `HF_HUB_CACHE`, else `HF_HOME`/hub, else ~/.cache/huggingface/hub
 * @throws NO_FILES in a page
 */
export function hubCacheFolder(named?: string): string {
  return host.hubCacheFolder(named);
}
