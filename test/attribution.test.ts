/** @file The short credits name every author of the full list. */

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { credits } from "../src/diorama/index.js";

it("name every author and licence of the world's models", () => {
  const text = readFileSync(new URL("../assets/ATTRIBUTION.md", import.meta.url), "utf8");
  const table = text.slice(text.indexOf("<!-- diorama"), text.indexOf("<!-- /diorama"));
  const rows = [...table.matchAll(/^\| [^|]+ \| [^|]+ \| ([^|]+) \| ([^|]+) \|$/gm)]
    .map(([, author, licence]) => [author!.replace(/,? <.*/, ""), licence!] as const)
    .filter(([author]) => author !== "author" && author !== "---" && author !== "the diffsight authors");
  expect(rows.length).toBeGreaterThan(50);
  const byLicence = new Map(
    credits.split("; ").map((part) => [/\((CC[^)]*)\)/.exec(part)?.[1] ?? "", part] as const),
  );
  for (const [author, licence] of rows)
    expect(byLicence.get(licence), `${author} (${licence})`).toContain(author);
});
