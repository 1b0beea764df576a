/** @file The IMAGE arguments: files, folders, patterns, addresses and stdin, each with a name for its output. */

import { readdir, stat } from "node:fs/promises";
import { basename, dirname, extname, join, relative, resolve, sep } from "node:path";
import { DiffsightError, failure, misuse } from "../tensor/index.js";

/** An image to look at. */
export interface NamedImage {
  /** As messages and manifests call it: the path, the address, or "-". */
  source: string;
  /** Of its output, unique and without an ending: "photo", or "cats/tom" of a folder. */
  name: string;
}

const endings = new Set([".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".gif"]);

/**
 * Lists the images that the arguments mean: folders with all that lies below them, patterns in the order of the
 * names. An image that is meant twice is taken once.
 * @throws FILE_NOT_FOUND when a folder or a pattern holds none; a file that is missing is found out when it is read
 */
export async function expandImages(args: readonly string[]): Promise<NamedImage[]> {
  const found = new Map<string, { source: string; path: string }>();
  for (const arg of args) {
    for (const { source, below } of await expand(arg)) {
      const key = source === "-" || isAddress(source) ? source : resolve(source);
      if (!found.has(key)) found.set(key, { source, path: below });
    }
  }
  return distinctNames([...found.values()]);
}

/** What an argument means; `below` is the path by which the output is named. */
async function expand(arg: string): Promise<{ source: string; below: string }[]> {
  if (arg === "-") return [{ source: arg, below: "stdin" }];
  if (isAddress(arg)) return [{ source: arg, below: addressName(arg) }];
  const found = await stat(arg).catch(() => undefined);
  if (found?.isDirectory()) {
    const images = (await filesBelow(arg)).filter((file) => endings.has(extname(file).toLowerCase()));
    if (images.length === 0)
      throw failure("FILE_NOT_FOUND", `The folder ${arg} holds no images (${[...endings].join(", ")}).`);
    return images.map((file) => ({ source: join(arg, file), below: file }));
  }
  if (found || !/[*?[\]{}]/.test(arg)) return [{ source: arg, below: basename(arg) }];
  const [base, pattern] = splitPattern(arg);
  const matches = (await filesBelow(base)).filter((file) => pattern.test(file));
  if (matches.length === 0) throw failure("FILE_NOT_FOUND", `No file matches ${arg}.`);
  return matches.map((file) => ({ source: join(base, file), below: file }));
}

export function isAddress(arg: string): boolean {
  return /^https?:\/\//i.test(arg);
}

function addressName(address: string): string {
  const last = new URL(address).pathname.split("/").filter(Boolean).at(-1);
  return last ? last.replace(/[^\w.-]+/g, "_") : "image";
}

/** Files of a folder and its subfolders, relative and with "/", in the order of their names. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .sort();
}

/** A pattern's folder without signs, and the rest as an expression over paths relative to it. */
function splitPattern(glob: string): [string, RegExp] {
  const parts = glob.split("/");
  const first = parts.findIndex((part) => /[*?[\]{}]/.test(part));
  const base = parts.slice(0, first).join("/");
  return [
    base === "" ? (glob.startsWith("/") ? "/" : ".") : base,
    globExpression(parts.slice(first).join("/")),
  ];
}

/**
 * `*` and `?` within a name, `**` over folders, `[a-z]`, `{a,b}`. Names that begin with a dot need one in the pattern.
 * @throws misuse PATTERN when brackets or braces stay open, or a range runs backwards
 */
export function globExpression(glob: string): RegExp {
  let expression = "";
  let depth = 0;
  for (let at = 0; at < glob.length; at++) {
    const sign = glob[at]!;
    const startsName = at === 0 || glob[at - 1] === "/";
    const rest = glob.slice(at);
    if (rest.startsWith("**/") && startsName) {
      expression += "(?:(?!\\.)[^/]+/)*";
      at += 2;
    } else if (rest === "**" && startsName) {
      expression += "(?:(?!\\.)[^/]+/)*(?!\\.)[^/]+";
      at += 1;
    } else if (sign === "*") expression += `${startsName ? "(?!\\.)" : ""}[^/]*`;
    else if (sign === "?") expression += `${startsName ? "(?!\\.)" : ""}[^/]`;
    else if (sign === "[") {
      const set = /^\[([!^]?)([^\]/]+)\]/.exec(rest);
      if (!set) throw misuse("PATTERN", `"${glob}": "[" without "]".`);
      expression += `[${set[1] ? "^" : ""}${set[2]!.replace(/[\\^[]/g, "\\$&")}]`;
      at += set[0].length - 1;
    } else if (sign === "{") {
      depth++;
      expression += "(?:";
    } else if (sign === "}" && depth > 0) {
      depth--;
      expression += ")";
    } else if (sign === "," && depth > 0) expression += "|";
    else expression += sign.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  }
  if (depth > 0) throw misuse("PATTERN", `"${glob}": "{" without "}".`);
  try {
    return new RegExp(`^${expression}$`, "u");
  } catch (cause) {
    throw misuse("PATTERN", `"${glob}" is no pattern: ${(cause as Error).message.split(": ").at(-1)}.`);
  }
}

/** Names without endings; where two would be equal with endings, and at last numbered. */
function distinctNames(images: readonly { source: string; path: string }[]): NamedImage[] {
  const plain = images.map(({ path }) =>
    join(dirname(path), basename(path, extname(path)))
      .split(sep)
      .join("/"),
  );
  const times = new Map<string, number>();
  for (const name of plain) times.set(name, (times.get(name) ?? 0) + 1);
  const taken = new Set<string>();
  return images.map(({ source, path }, i) => {
    const wanted = times.get(plain[i]!)! > 1 ? path : plain[i]!;
    let name = wanted;
    for (let n = 2; taken.has(name); n++) name = `${wanted}-${n}`;
    taken.add(name);
    return { source, name };
  });
}

/** Most bytes that are read from stdin: those that a file may have. */
const mostStdinBytes = 1 << 30;

/** The image as the library takes it. */
export async function readImage(source: string): Promise<string | URL | Uint8Array> {
  if (isAddress(source)) return new URL(source);
  if (source !== "-") return source;
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of process.stdin) {
    parts.push(part);
    length += part.length;
    if (length > mostStdinBytes)
      throw failure(
        "IMAGE_TOO_LARGE",
        `stdin holds more than ${mostStdinBytes} bytes, the most that is read.`,
      );
  }
  return Buffer.concat(parts);
}

/** Whether an error belongs to one image alone, so that the others can go on. */
export function isOfImage(error: unknown): error is DiffsightError {
  return error instanceof DiffsightError && /^(IMAGE_|FILE_|NETWORK$|OUT_OF_MEMORY$)/.test(error.code);
}
