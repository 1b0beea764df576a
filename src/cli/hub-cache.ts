/** @file Where the hub's cache lies, by the variables that Python's huggingface_hub reads. */

import { homedir } from "node:os";
import { join } from "node:path";

export function hubCacheFolder(named?: string): string {
  const { env } = process;
  const home = env.HF_HOME ?? join(env.XDG_CACHE_HOME ?? "~/.cache", "huggingface");
  const folder = named ?? env.HF_HUB_CACHE ?? env.HUGGINGFACE_HUB_CACHE ?? join(home, "hub");
  return folder === "~" || folder.startsWith("~/") ? join(homedir(), folder.slice(1)) : folder;
}
