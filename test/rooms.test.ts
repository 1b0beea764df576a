/** @file The house rule: a room imports only rooms listed before it, and only through their doors. */

import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const source = fileURLToPath(new URL("../src/", import.meta.url));

/** In the order of docs/design.md; rooms side by side know nothing of each other. */
const rooms = [
  ["tensor"],
  ["graph"],
  ["engine"],
  ["weights"],
  ["text", "image"],
  ["diorama"],
  ["models"],
  ["diffusion"],
  ["vlm"],
  ["data"],
  ["training"],
  ["evaluation"],
  ["jobs"],
  ["server", "cli"],
];

/** Runs in the browser too: hosts are reached through #host only. */
const portable = [
  "tensor",
  "graph",
  "engine",
  "weights",
  "text",
  "image",
  "diorama",
  "models",
  "diffusion",
  "vlm",
];

const files = readdirSync(source, { recursive: true, encoding: "utf8" })
  .map((file) => file.split(path.sep).join("/"))
  .filter((file) => file.endsWith(".ts") && file.includes("/"));

function importsOf(file: string, { types = true } = {}): string[] {
  const text = readFileSync(path.join(source, file), "utf8");
  const code = types ? text : text.replace(/^(import|export) type [^;]*;/gm, "");
  return [...code.matchAll(/(?:from|import\()\s*"([^"]+)"/g)].map((match) => match[1]!);
}

function rank(room: string): number {
  return rooms.findIndex((group) => group.includes(room));
}

describe("rooms", () => {
  it.each(files)("%s imports only from rooms before its own, through their doors", (file) => {
    const room = file.split("/")[0]!;
    expect(rank(room), `${room} is in the list of rooms`).toBeGreaterThanOrEqual(0);
    for (const specifier of importsOf(file)) {
      if (specifier.startsWith("#host/")) expect(specifier).toBe(`#host/${room}`);
      if (!specifier.startsWith(".")) continue;
      const target = path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier));
      const other = target.split("/")[0]!;
      if (other === room || target.startsWith("..")) continue;
      expect(rank(other), `${specifier} comes before ${room}`).toBeLessThan(rank(room));
      expect(target, `${specifier} is a door`).toBe(`${other}/index.js`);
    }
  });

  it("reach nothing of Node from the browser's side", () => {
    const reached = new Set<string>();
    const enter = (file: string) => {
      if (reached.has(file)) return;
      reached.add(file);
      for (const specifier of importsOf(file, { types: false })) {
        if (specifier.startsWith("#host/")) enter(`${specifier.slice(6)}/web.ts`);
        if (!specifier.startsWith(".")) continue;
        enter(path.posix.join(path.posix.dirname(file), specifier).replace(/\.js$/, ".ts"));
      }
    };
    enter("index.ts");
    expect([...portable].filter((room) => ![...reached].some((file) => file.startsWith(`${room}/`)))).toEqual(
      [],
    );
    const hosted = [...reached].flatMap((file) =>
      importsOf(file, { types: false })
        .filter((specifier) => /^(node:|sharp|onnxruntime-node)/.test(specifier))
        .map((specifier) => `${file}: ${specifier}`),
    );
    expect(hosted).toEqual([]);
  });
});
