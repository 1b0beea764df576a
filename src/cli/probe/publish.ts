/** @file Writes what a probe found: a page, and the numbers beside it. */

import { join } from "node:path";
import { writeFileAtomic } from "../../weights/index.js";
import type { Shell } from "../shell.js";

/** Writes name.html and what lies beside it, and says so. */
export async function publish(
  report: { html: string; json: string; csv: string; png?: Uint8Array },
  name: string,
  { out, json = false }: { out: string; json?: boolean },
  shell: Shell,
): Promise<void> {
  for (const [ending, text] of Object.entries(report))
    await writeFileAtomic(join(out, `${name}.${ending}`), text);
  if (json) return shell.json(JSON.parse(report.json));
  shell.line(join(out, `${name}.html`));
  const others = Object.keys(report).filter((ending) => ending !== "html");
  shell.note(`  beside it: ${others.map((ending) => `${name}.${ending}`).join(", ")}`);
}
