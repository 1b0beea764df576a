/** @file Sections of a report beside the answers: blind pairs, where the model looks, what the features are like. */

import type { BlindPair } from "../blind.js";
import { heatMap } from "../report/charts.js";
import { percent, type Section, shown, table } from "../report/html.js";
import { type Estimate, meanOf } from "../statistics.js";
import type { Looks } from "./looks.js";
import type { Alikeness, FeatureStatistics } from "./statistics.js";

/**
 * @param first pairs below this number were not chosen for being blind
 * @param answers HTML: what each way of seeing tells of the blind ones
 */
export function blindSection(pairs: readonly BlindPair[], first: number, answers: string): Section {
  const patterns = [...new Set(pairs.map(({ pattern }) => pattern))];
  const rows = patterns.map((pattern) => {
    const those = pairs.filter((one) => one.pattern === pattern);
    const unchosen = those.filter(({ pair }) => pair < first);
    const blind = (list: readonly BlindPair[]) => list.filter((one) => one.blind).length;
    const similarity = meanOf(unchosen.map((one) => one.similarity));
    return [
      pattern,
      String(unchosen.length),
      String(blind(unchosen)),
      plain(similarity),
      String(blind(those)),
    ];
  });
  return {
    title: "Twins that CLIP is blind to",
    body: `<p>CLIP takes the two pictures for the same (cosine of their embeddings above 0.95) although at least 1 % of their pixels differ visibly.</p>
${table(["pattern", "pairs", "of them blind", "mean cosine", "blind ones judged"], rows)}
${answers}`,
  };
}

const plain = ({ value }: Estimate) => value.toFixed(3);

const bounded = ({ value, low, high }: Estimate) => ({
  html: `${value.toFixed(3)}<small>${low.toFixed(3)}–${high.toFixed(3)}</small>`,
});

export function looksSection({ words, questions, others }: Looks): Section {
  const rows = Object.entries({
    "a noun’s map, on its thing": words,
    "what the question changes, on what it asks about": questions,
    "what another scene’s question changes, on the same": others,
  }).map(([name, { hits, chance, iou, mass }]) => [
    name,
    { html: shown(hits) },
    percent(chance),
    { html: shown(iou) },
    { html: shown(mass) },
  ]);
  return {
    title: "Where it looks",
    body: `<p>Held against the things’ masks. The brightest place is on the thing as often as “hits” says, a random place as often as “chance”; IoU is the overlap of as many of the brightest places as the thing has; mass is the thing’s share of the map.</p>
${table(["map", "hits", "chance", "IoU", "mass"], rows)}`,
  };
}

type NameOf = (way: { features: string; column: string }) => string;

export function twinCosineSection(statistics: readonly FeatureStatistics[], nameOf: NameOf): Section {
  const patterns = [...new Set(statistics.flatMap(({ twins }) => Object.keys(twins)))];
  const rows = statistics.map((one) => [
    nameOf(one),
    ...patterns.map((pattern) => {
      const cosine = one.twins[pattern];
      return cosine ? bounded(cosine) : "";
    }),
    { html: shown(one.norms.spread) },
    bounded(one.norms.registers),
  ]);
  return {
    title: "What the features are like",
    body: `<p>Cosine of the features of twins: how alike one way of seeing makes two pictures that differ in one fact. Spread is the deviation of the tokens’ lengths within a picture, in per cent of their mean; registers are tokens of more than four times the median length, a picture.</p>
${table(["features", ...patterns, "spread", "registers"], rows)}`,
  };
}

export function alikenessSection({ ways, cka }: Alikeness, nameOf: NameOf): Section[] {
  if (ways.length < 2) return [];
  const rows = ways.map((way, i) => `${nameOf(way)} (${i + 1})`);
  const columns = ways.map((_, i) => `(${i + 1})`);
  const value = (row: string, column: string) => {
    const found = cka[rows.indexOf(row)]![columns.indexOf(column)]!;
    return { value: found, low: found, high: found, count: 1 };
  };
  return [
    {
      title: "How alike the ways are",
      body: `<p>Debiased linear CKA of every two ways, of all tokens of the same pictures, in per cent: 100 when they differ by a rotation and a scale, 0 when they share nothing.</p>
${heatMap(rows, columns, value)}`,
    },
  ];
}
