/**
 * @file Tap names: `up_blocks.1.attentions.1.transformer_blocks.0:cross-q` of the graph, its long id
 * `up-level1-repeat1-vit-block0-cross-q` (generic-diffusion-feature) and the paper's `U-L1-R1-B0-Cross-Q`.
 */

import { dependents, type Value } from "../graph/index.js";
import { misuse } from "../tensor/index.js";

/** A place in the network whose activation can be taken. */
export interface Tap {
  /** Long id, as in generic-diffusion-feature. */
  id: string;
  /** The paper's spelling. */
  short: string;
  value: Value;
  /** grid: [B, C, H, W]; tokens: [B, T, C]; map: [B, heads, queries, keys], and has no guided part. */
  kind: "grid" | "tokens" | "map";
  /** Whether generic-diffusion-feature names it too. */
  classic: boolean;
  /** Whether its numbers cannot depend on the text: delta is exactly 0. */
  textFree: boolean;
}

const stages: Record<string, string> = { down_blocks: "down", mid_block: "mid", up_blocks: "up" };

/** The long id of a value that a network recorded under "scope path:kind". */
export function longId(recorded: string): string {
  const [path, kind] = recorded.split(":") as [string, string];
  if (path === "") return kind;
  const keys = path.split(".");
  const stage = stages[keys.shift()!]!;
  const level = stage === "mid" ? "" : `-level${keys.shift()}`;
  const [module, index, , block] = keys;
  const repeat = stage === "mid" && module === "attentions" ? "" : `-repeat${index}`;
  if (module === "resnets") return `${stage}${level}${repeat}-${kind}`;
  if (module === "attentions")
    return `${stage}${level}${repeat}-${block === undefined ? kind : `vit-block${block}-${kind}`}`;
  return `${stage}${level}-${module!.slice(0, -1)}-${kind}`;
}

const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);

/** The paper's spelling of a long id: `U-L1-R1-B0-Cross-Q`. */
export function shortId(id: string): string {
  return id
    .replace(/^(down|mid|up)-/, (_, stage: string) => `${stage.charAt(0)}-`)
    .replace(/level(\d+)/, "l$1")
    .replace(/repeat(\d+)/, "r$1")
    .replace(/vit-block(\d+)/, "b$1")
    .split("-")
    .map(capital)
    .join("-");
}

/** Any accepted spelling as a long id; it need not exist. */
export function normalizeId(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replace(/^d-/, "down-")
    .replace(/^m-/, "mid-")
    .replace(/^u-/, "up-")
    .replace(/-l(\d+)(?=-|$)/, "-level$1")
    .replace(/-r(\d+)(?=-|$)/, "-repeat$1")
    .replace(/-b(\d+)-/, "-vit-block$1-")
    .replace(/^mid-level0-/, "mid-")
    .replace(/^mid-repeat0-vit/, "mid-vit");
}

/**
 * Every tap of a written network, in the order of execution.
 * @param text the inputs that the text decides
 */
export function listTaps(recorded: ReadonlyMap<string, Value>, text: readonly Value[]): Tap[] {
  const bound = dependents(recorded.values(), new Set(text));
  return [...recorded].map(([key, value]) => {
    const id = longId(key);
    const kind = /-(map|score)$/.test(id) ? "map" : value.dims.length === 3 ? "tokens" : "grid";
    return {
      id,
      short: shortId(id),
      value,
      kind,
      classic: kind !== "tokens" && !id.endsWith("-score"),
      textFree: !bound.has(value),
    };
  });
}

/**
 * The tap of a name in any spelling.
 * @throws DiffsightError UNKNOWN_TAP that says where the name goes wrong and lists the nearest taps
 */
export function findTap(taps: readonly Tap[], name: string): Tap {
  const id = normalizeId(name);
  const found = taps.find((tap) => tap.id === id);
  if (found) return found;
  const ids = taps.map((tap) => tap.id);
  const near = [...ids].sort((a, b) => distance(a, id) - distance(b, id)).slice(0, 3);
  throw misuse("UNKNOWN_TAP", `Unknown tap "${name}": ${explain(ids, id)} Near: ${near.join(", ")}.`);
}

/**
 * The cross-attentions that `layers` name (all without them), as taps of their maps or scores. A name is one layer
 * (`U-L1-R1-B0-Cross`; any of its taps will do) or the beginning of several (`up`, `U-L1`,
 * `U-L1-*`, `*`).
 */
export function crossAttentions(
  taps: readonly Tap[],
  layers: readonly string[] | undefined,
  kind: "map" | "score",
): Tap[] {
  const suffix = `-cross-${kind}`;
  const all = taps.filter(({ id }) => id.endsWith(suffix));
  if (!layers?.length) return all;
  const chosen = new Set(
    layers.flatMap((layer) => {
      const id = normalizeId(layer).replace(/-cross(-(map|score|q|k|v))?$/, "");
      const start = `${id.replace(/-\*$/, "")}-`;
      const begun = id === "*" ? all : all.filter((tap) => tap.id.startsWith(start));
      return begun.length > 0 ? begun : [findTap(taps, `${id}${suffix}`)];
    }),
  );
  return all.filter((tap) => chosen.has(tap));
}

/** Says which part of an id does not exist, and what does. */
function explain(ids: readonly string[], id: string): string {
  let prefix = "";
  for (const part of id.split("-")) {
    const starts = (start: string) => ids.filter((one) => one === start || one.startsWith(`${start}-`));
    const next = prefix === "" ? part : `${prefix}-${part}`;
    if (starts(next).length === 0) {
      const rest = prefix === "" ? ids : starts(prefix).filter((one) => one !== prefix);
      const options = [
        ...new Set(rest.map((one) => one.slice(prefix === "" ? 0 : prefix.length + 1).split("-")[0]!)),
      ];
      const numbered = options.every((option) => /\d$/.test(option));
      const has = numbered
        ? `${options[0]!.replace(/\d+$/, "")}s ${options[0]!.match(/\d+$/)} to ${options.at(-1)!.match(/\d+$/)}`
        : options.join(", ");
      return `${prefix === "" ? "names begin with" : `${prefix} has`} ${has}.`;
    }
    prefix = next;
  }
  return `it goes on after "${prefix}".`;
}

/** Edits between two strings (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
