/** @file The card of an exported model: what it is, what it was made from, how well it did, what it draws. */

import { cpus } from "node:os";
import type { Recipe } from "./recipe.js";
import { samplesFile, samplesSettings } from "./samples.js";
import {
  isData,
  type PlannedExport,
  type PlannedStage,
  type PlannedTraining,
  readResult,
  readWeights,
} from "./stages.js";
import { loggedSteps, medianSeconds } from "./step-log.js";

/** Whom the data of these stages and of those that they come from is owed to. */
function creditsOf(stages: Iterable<PlannedStage>): string[] {
  const found = new Set<string>();
  const look = (stage: PlannedStage) => {
    if (isData(stage) && stage.producer.credits) found.add(stage.producer.credits);
    for (const needed of stage.needs.values()) look(needed);
  };
  for (const stage of stages) look(stage);
  return [...found];
}

const processor = cpus()[0]?.model.trim() ?? "unknown processor";

const hours = (seconds: number) =>
  seconds < 60
    ? `${seconds.toFixed(0)} s`
    : seconds < 5400
      ? `${(seconds / 60).toFixed(0)} min`
      : `${(seconds / 3600).toFixed(1)} h`;

function samplesOf({ samples }: PlannedExport["stage"]): string[] {
  if (samples.length === 0) return [];
  const { steps, cfg } = samplesSettings;
  const note = `${steps} steps at a guidance of ${cfg}, the seeds 0, 1, 2 ...; none was picked.`;
  return ["## Samples", `![Drawings with their prompts](${samplesFile})`, note];
}

/** What the model is, what it was made from, and how well it did. */
export async function modelCard(
  { stage }: PlannedExport,
  sources: readonly PlannedTraining[],
  recipe: Recipe,
): Promise<string> {
  const library = stage.layout === "pipeline" ? "diffusers" : "transformers";
  const parts: string[] = [];
  for (const source of sources) {
    const result = (await readResult(source))!;
    const { settings } = source;
    const parameters = [...(await readWeights(source)).values()].reduce((sum, { size }) => sum + size, 0);
    const median = medianSeconds(await loggedSteps(source.folder));
    const step = median === undefined ? "" : `; ${median.toPrecision(2)} s a step in the median`;
    const validated = Object.entries(result.validation?.metrics ?? {}).map(
      ([name, value]) => `${name} ${value.toPrecision(4)}`,
    );
    const facts = [
      ["numbers", `${(parameters / 1e6).toFixed(2)} M`],
      ["steps", `${result.steps} of ${settings.batch} examples (${settings.parts} parts)`],
      ["seed", `${settings.seed}`],
      ["time", `${hours(result.seconds)} with ${result.threads} threads (${processor})${step}`],
      ["loss at the end", result.loss?.toPrecision(4) ?? ""],
      ...(result.validation
        ? [["validation", [`loss ${result.validation.loss.toPrecision(4)}`, ...validated].join(", ")]]
        : []),
      ["key", `\`${source.key.slice(0, 12)}\``],
    ];
    parts.push(
      `### ${source.stage.name}: ${source.stage.task}`,
      `| what | value |\n|---|---|\n${facts.map((row) => `| ${row.join(" | ")} |`).join("\n")}`,
      `![Loss of ${source.stage.name} by step](training/${source.stage.name}.svg)`,
    );
  }
  return [
    `---\nlicense: ${stage.license}\nlibrary_name: ${library}\ntags: [diffsight]\n---`,
    `# ${stage.title}`,
    stage.description,
    `Trained by \`diffsight train\` from the recipe below; the same recipe gives the same weights, bit for bit, on a machine of the same kind. Stored as ${stage.dtype}.`,
    "## Training",
    ...parts,
    ...samplesOf(stage),
    ...creditsOf(sources).flatMap((one, i) => (i === 0 ? ["## Data", one] : [one])),
    "## Recipe",
    `\`\`\`json\n${JSON.stringify(recipe, undefined, 2)}\n\`\`\`\n`,
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}
