/** @file `diffsight diorama`: pictures of the embedded world, with masks, captions and questions. */

import { join } from "node:path";
import { type Command, Option } from "commander";
import {
  example,
  type Pattern,
  patterns,
  type SceneRecord,
  type Split,
  sceneRecord,
  splits,
  type TwinExample,
  twinExample,
  twinPatterns,
  twinRecords,
  World,
} from "../diorama/index.js";
import type { Tile } from "../image/index.js";
import { aborted, misuse } from "../tensor/index.js";
import { examples, outputFlags, wholeNumber } from "./flags.js";
import type { OutputFlags, Shell } from "./shell.js";

interface DioramaFlags extends OutputFlags {
  out: string;
  seed: number;
  count: number;
  from: number;
  size: number;
  split: Split;
  pattern?: Pattern;
  masks?: boolean;
  twins?: boolean;
  sheet?: boolean;
  json?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("-o <folder> [flags]")
    .description(
      "Renders scenes of the embedded world: a PNG each, and scenes.jsonl with captions, boxes and questions of MMVP's " +
        "nine patterns. A scene is the same wherever and whenever it is rendered.",
    )
    .optionsGroup("What:")
    .requiredOption("-o, --out <folder>", "where pictures and scenes.jsonl go")
    .option("--count <n>", "scenes, or pairs of twins", wholeNumber, 16)
    .option("--from <n>", "number of the first one", wholeNumber, 0)
    .option("--seed <n>", "names a world of scenes", wholeNumber, 0)
    .addOption(
      new Option("--split <name>", "unseen asks about combinations that the others never show")
        .choices(splits)
        .default("train"),
    )
    .addOption(
      new Option("--pattern <name>", "only scenes made to ask this (default: a mixture)").choices(patterns),
    )
    .option("--twins", "each scene twice with one fact changed: one question, two answers")
    .option("--size <px>", "of the pictures", wholeNumber, 64)
    .option("--masks", "pictures of object numbers too: 0 is background, 1 the first object")
    .option("--sheet", "a contact sheet of at most 48 scenes too: sheet.png");
  outputFlags(command, { json: "print what was made as JSON" });
  examples(
    command,
    ["diorama --count 24 --sheet -o world", "24 scenes and a sheet that shows them with their captions"],
    [
      "diorama --split test --twins --pattern relation --count 10 --masks -o twins",
      "ten pairs that differ in where things stand",
    ],
  );
  command.action((flags: DioramaFlags) => diorama(flags, shell));
}

const mostScenes = 100_000;
const sheetTiles = 48;
const sheetSide = 128;

async function diorama(flags: DioramaFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { out, count, from, seed, size, split, pattern } = flags;
  checkRange("--count", count, 1, mostScenes);
  checkRange("--from", from, 0, Number.MAX_SAFE_INTEGER - mostScenes);
  checkRange("--seed", seed, 0, Number.MAX_SAFE_INTEGER);
  checkRange("--size", size, 16, 1024);
  const asked = pattern ? [pattern] : twinPatterns(split);
  if (!twinPatterns(split).includes(asked[0]!))
    throw misuse(
      "PATTERN",
      `The split ${split} asks about ${twinPatterns(split).join(", ")}, not about ${pattern}.`,
    );
  await shell.checkWritable(out, { folder: true });
  const { contactSheet, encodePng, enlarged } = await import("../image/index.js");
  const world = await World.open();
  const options = { seed, split, size };
  const lines: SceneRecord[] = [];
  const tiles: Tile[] = [];
  const save = async (name: string, { rgb, mask }: { rgb: Uint8Array; mask: Uint8Array }) => {
    const files = { image: `${name}.png`, ...(flags.masks && { mask: `masks/${name}.png` }) };
    await shell.write(join(out, files.image), encodePng({ width: size, height: size, data: rgb }));
    if (files.mask)
      await shell.write(
        join(out, files.mask),
        encodePng({ width: size, height: size, channels: 1, data: mask }),
      );
    return files;
  };
  const show = (rgb: Uint8Array, line: SceneRecord) => {
    if (!flags.sheet || tiles.length >= sheetTiles) return;
    const question = line.questions[0]!;
    const caption = flags.twins
      ? `${question.question} ${question.options[question.answer]}`
      : line.captions.full;
    tiles.push({ image: enlarged({ width: size, height: size, data: rgb }, sheetSide), caption });
  };
  for (let i = 0; i < count; i++) {
    if (shell.signal.aborted) throw aborted();
    const index = from + i;
    const name = String(index).padStart(6, "0");
    shell.progress.show("rendering", i, count);
    if (flags.twins) {
      const turn = asked[index % asked.length]!;
      const pair: TwinExample = twinExample(world, Math.floor(index / asked.length), {
        ...options,
        pattern: turn,
      });
      const [one, other] = pair.renderings;
      const files = [await save(`${name}-a`, one), await save(`${name}-b`, other)] as const;
      const records = twinRecords(pair, files, index);
      lines.push(...records);
      records.forEach((line, k) => void show(pair.renderings[k]!.rgb, line));
    } else {
      const made = example(world, index, { ...options, ...(pattern && { pattern }) });
      const line = sceneRecord(made, await save(name, made.rendering));
      lines.push(line);
      show(made.rendering.rgb, line);
    }
  }
  if (flags.sheet) await shell.write(join(out, "sheet.png"), encodePng(contactSheet(tiles, { columns: 8 })));
  // Last, so that whoever finds it finds all that it names.
  await shell.write(join(out, "scenes.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  if (!flags.json) return shell.line(join(out, "scenes.jsonl"));
  const tally: Partial<Record<Pattern, number>> = {};
  for (const question of lines.flatMap(({ questions }) => questions))
    tally[question.pattern] = (tally[question.pattern] ?? 0) + 1;
  shell.json({
    scenes: join(out, "scenes.jsonl"),
    pictures: lines.length,
    split,
    seed,
    from,
    questions: tally,
  });
}

function checkRange(flag: string, value: number, low: number, high: number): void {
  if (value < low || value > high)
    throw misuse("RANGE", `${flag} goes from ${low} to ${high}, not ${value}.`);
}
