/** @file Where the hub's cache lies on disk, by the variables that Python's huggingface_hub reads. */

import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** Of the token too. A variable that is set but empty counts as there, as in Python: it names the current folder. */
export function hubHome(): string {
  const { env } = process;
  return expand(env.HF_HOME ?? join(env.XDG_CACHE_HOME ?? "~/.cache", "huggingface"));
}

export function hubCacheFolder(named?: string): string {
  const { env } = process;
  const folder = named ?? env.HF_HUB_CACHE ?? env.HUGGINGFACE_HUB_CACHE ?? join(hubHome(), "hub");
  return resolve(expand(folder));
}

/** Python's expanduser and expandvars: unknown variables stay as they are. */
export function expand(path: string): string {
  const whole = path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
  return whole.replace(/\$(?:(\w+)|\{([^}]*)\})/g, (written, plain, braced) => {
    return process.env[plain ?? braced] ?? written;
  });
}
