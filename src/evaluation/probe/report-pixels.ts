/** @file What a network of pixels tells of pictures, and of drawings of their captions. */

import { Store } from "../../data/index.js";
import { contactSheet, encodePng, enlarged, type RgbImage } from "../../image/index.js";
import { picturesOf, sceneSchema } from "../../training/index.js";
import type { Accuracy } from "../graded.js";
import { dotChart } from "../report/charts.js";
import { estimatesCsv } from "../report/csv.js";
import { percent, reportPage, shown, table } from "../report/html.js";
import type { PixelsOutcome } from "./pixels-plan.js";
import { accuracy, pairAccuracy } from "./probe.js";
import type { ProbeReport } from "./report.js";

const patternsOf = (sets: Readonly<Record<string, Accuracy>>) => [
  ...new Set(Object.values(sets).flatMap(({ patterns }) => Object.keys(patterns))),
];

function tableOf(sets: Readonly<Record<string, Accuracy>>): string {
  const rows = ["mean", ...patternsOf(sets)].map((pattern) => [
    pattern,
    ...Object.values(sets).map(({ patterns, macro }) => {
      const found = pattern === "mean" ? macro : patterns[pattern];
      return found ? { html: shown(found) } : "";
    }),
  ]);
  return table(["pattern", ...Object.keys(sets)], rows);
}

function chartOf(sets: Readonly<Record<string, Accuracy>>, chance: number): string {
  const series = Object.entries(sets).map(([name, { patterns, macro }]) => ({
    name,
    values: { mean: macro, ...patterns },
  }));
  return dotChart(["mean", ...patternsOf(sets)], series, chance);
}

const numbers = (title: string, sets: Readonly<Record<string, Accuracy>>) => ({
  json: `${JSON.stringify({ title, ...sets }, undefined, 2)}\n`,
  csv: estimatesCsv(
    ["pattern", "set"],
    Object.entries(sets).flatMap(([set, { patterns, macro }]) =>
      Object.entries({ mean: macro, ...patterns }).map(([pattern, found]) => ({
        keys: [pattern, set],
        found,
      })),
    ),
  ),
});

/** How much of each pattern is in the pixels. */
export function pixelsReport({ answers }: PixelsOutcome): ProbeReport {
  const title = "What there is to be seen";
  const questions = { questions: accuracy(answers.test), unseen: accuracy(answers.unseen) };
  const twins = { twins: pairAccuracy(answers.twins) };
  return {
    html: reportPage(
      title,
      "A small convolutional network was taught the questions on the pictures themselves. A pattern that it answers is in the pixels: features that lack it have left it out.",
      [
        {
          title: "Questions",
          body: `<p>Of scenes of their own, and of combinations that training never shows; guessing gives 50 %.</p>${chartOf(questions, 0.5)}${tableOf(questions)}`,
        },
        {
          title: "Twins",
          body: `<p>Both of a pair right; guessing gives 25 %.</p>${tableOf(twins)}`,
        },
      ],
    ),
    ...numbers(title, { ...questions, ...twins }),
  };
}

/** Drawings that the page shows, each behind the picture that it should be. */
const shownDrawings = 48;
const columns = 8;
const shownSide = 128;

/** Whether drawings show what their captions say. @throws DiffsightError when there are no drawings */
export async function drawnReport(outcome: PixelsOutcome): Promise<ProbeReport & { png: Uint8Array }> {
  const title = "What is drawn";
  const { answers, drawn, pictures, drawings } = outcome;
  if (!drawn || !drawings) throw new Error("There are no drawings to report of.");
  const sets = { rendered: accuracy(answers.test), drawn: accuracy(drawn) };
  const png = encodePng(sheetOf(pictures, drawings));
  const { value } = sets.drawn.macro;
  return {
    html: reportPage(
      title,
      `A network that was taught on rendered pictures answers ${percent(value)} % of the questions about drawings of their captions, ${percent(sets.rendered.macro.value)} % about the rendered pictures; guessing gives 50 %.`,
      [
        { title: "By pattern", body: `${chartOf(sets, 0.5)}${tableOf(sets)}` },
        {
          title: "Drawings",
          body: figureOf(
            png,
            "Rendered pictures, and beside each the drawing of its caption, which no training has seen.",
          ),
        },
      ],
    ),
    ...numbers(title, sets),
    png,
  };
}

const figureOf = (png: Uint8Array, caption: string) =>
  `<figure><img alt="${caption}" src="data:image/png;base64,${Buffer.from(png).toString("base64")}"><figcaption>${caption}</figcaption></figure>`;

function sheetOf(pictures: string, drawings: string): RgbImage {
  using rendered = Store.open(pictures);
  using drawn = Store.open(drawings);
  const rows = Array.from({ length: Math.min(shownDrawings, drawn.rows) }, (_, i) => i);
  const beside = picturesOf(drawn, rows);
  const tiles = picturesOf(rendered, rows).flatMap((image, i) => [
    { image: enlarged(image, shownSide) },
    { image: enlarged(beside[i]!, shownSide), caption: sceneSchema.parse(drawn.line(i)).captions.full },
  ]);
  return contactSheet(tiles, { columns });
}
