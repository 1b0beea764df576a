/** @file Names for bytes. */

import * as host from "#host/diffusion";

/** A name that equal bytes share and others do not. */
export function fingerprint(bytes: Uint8Array): Promise<string> {
  return host.fingerprint(bytes);
}
