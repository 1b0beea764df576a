/** @file `diffsight attend`: where each word of a text looks in an image, as tensors and overlays. */

import { join } from "node:path";
import type { Command } from "commander";
import type { WordMaps } from "../diffusion/index.js";
import { encodeSafetensors, misuse, type Tensor } from "../tensor/index.js";
import {
  type AttentionFlags,
  attentionFlags,
  examples,
  imageFlags,
  modelFlags,
  outputFlags,
  repeated,
} from "./flags.js";
import { readImage } from "./images.js";
import { openEncoder } from "./open.js";
import { imageOptions } from "./request.js";
import type { Shell } from "./shell.js";
import { version } from "./version.js";

interface AttendFlags extends AttentionFlags {
  out: string;
  prompt: string;
  word?: string[];
  layersOut?: boolean;
  tokens?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("<image> --prompt <text> -o <folder> [flags]")
    .description(
      "Where each word of a text looks in an image: the U-Net's cross-attention, mean over heads and layers.\n\n" +
        "Writes maps.safetensors (words/<index>-<word>), one picture per word, sheet.png with all of them, and index.json.",
    )
    .argument("<image>", "a file, an address, or - for stdin")
    .optionsGroup("What:")
    .requiredOption("-p, --prompt <text>", "the text; best a caption of the image")
    .requiredOption("-o, --out <folder>", "where the files go")
    .option("-w, --word <word>", "a word or phrase of the text; repeatable (default: all words)", repeated);
  attentionFlags(command, "50")
    .option("--layers-out", "keep each layer's own maps as tensors too")
    .option("--tokens", "also the maps of the start, end and padding tokens");
  imageFlags(command);
  modelFlags(command);
  outputFlags(command, { json: "print index.json" });
  examples(
    command,
    ['attend photo.jpg --prompt "a dog on a red sofa" -o maps/', "a map for each of the six words"],
    [
      'attend photo.jpg --prompt "a dog on a red sofa" --word dog --word "red sofa" --timestep 50,250 -o maps/',
      "two of them, averaged over two timesteps",
    ],
  );
  command.action((image: string, flags: AttendFlags) => attend(image, flags, shell));
}

/** A map with the names that it goes by. */
interface NamedMap {
  word: string;
  /** Of the word among those of the prompt; tokens that are no words have none. */
  index: number | undefined;
  /** Positions among the tokens, the start token at 0. */
  tokens: number[];
  tensor: string;
  picture: string;
  map: Tensor;
}

/** Pixels of the longer side of a picture, and of one on the sheet. */
const pictureSide = 512;
const sheetSide = 224;

async function attend(source: string, flags: AttendFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  await shell.checkWritable(flags.out, { folder: true });
  const timesteps = flags.timestep ?? [50];
  await using encoder = await openEncoder(flags, shell, timesteps.length);
  const { contactSheet, encodePng, overlayPicture, overlayTile, resize } = await import("../image/index.js");
  const maps = await encoder.attend(await readImage(source), {
    prompt: flags.prompt,
    timesteps,
    ...(flags.layer && { layers: flags.layer }),
    perLayer: flags.layersOut ?? false,
    ...imageOptions(flags, shell),
  });
  const chosen = [...wordMaps(maps, flags.word), ...(flags.tokens ? tokenMaps(maps) : [])];
  if (chosen.length === 0)
    throw misuse("PROMPT", "The prompt has no words: --tokens shows the other tokens.");

  shell.progress.show("drawing");
  const tensors = [...chosen.map(({ tensor, map }) => [tensor, map] as const), ...maps.layers];
  const request = { version, ...maps.request };
  const place = (name: string) => join(flags.out, name);
  await shell.write(
    place("maps.safetensors"),
    encodeSafetensors(tensors, { diffsight: JSON.stringify(request) }),
  );
  for (const { word, picture, map } of chosen) {
    const drawn = overlayPicture(maps.image, map, { title: word, side: pictureSide });
    await shell.write(place(picture), encodePng(drawn));
  }
  const tiles = chosen.map(({ word, map }) => overlayTile(maps.image, map, { title: word, side: sheetSide }));
  const { width: across, height: down } = maps.image;
  const scale = sheetSide / Math.max(across, down);
  const shown = resize(maps.image, Math.round(across * scale), Math.round(down * scale), "bicubic");
  const subtitle = `t = ${timesteps.join(", ")} · mean over ${(maps.request.layers as string[]).length} layers`;
  const sheet = contactSheet([{ image: shown, title: "Picture" }, ...tiles], {
    title: flags.prompt,
    subtitle,
  });
  await shell.write(place("sheet.png"), encodePng(sheet));
  const index = {
    image: source,
    prompt: flags.prompt,
    request,
    maps: "maps.safetensors",
    sheet: "sheet.png",
    words: chosen.filter(({ index }) => index !== undefined).map(({ map, ...entry }) => entry),
    tokens: chosen.filter(({ index }) => index === undefined).map(({ map, index: _, ...entry }) => entry),
    layers: [...maps.layers.keys()],
  };
  await shell.write(place("index.json"), `${JSON.stringify(index, null, 2)}\n`);

  if (flags.json) return shell.json(index);
  const width = Math.max(4, ...chosen.map(({ word }) => word.length));
  shell.line(shell.bold(`${"word".padEnd(width)}   peak  at (right, down)  picture`));
  for (const { word, picture, map } of chosen) {
    const { value, x, y } = peak(map);
    shell.line(
      `${word.padEnd(width)}  ${value.toFixed(3)}  ${percent(x)}, ${percent(y)}          ${place(picture)}`,
    );
  }
  shell.line(shell.dim(`${place("sheet.png")} shows them all`));
}

/** @throws misuse UNKNOWN_WORD */
function wordMaps(maps: WordMaps, wanted: readonly string[] | undefined): NamedMap[] {
  const found = wanted ? wanted.flatMap((phrase) => occurrences(maps, phrase)) : maps.words;
  return found.map((word) => {
    const index = maps.words.findIndex(({ start }) => start === word.start);
    return named(`words/${index}-${word.text}`, `${index}-${fileName(word.text)}.png`, {
      word: word.text,
      index,
      tokens: range(word.start, word.end),
      map: maps.of(word),
    });
  });
}

function occurrences(maps: WordMaps, phrase: string) {
  const found = maps.find(phrase);
  // Says which words there are.
  if (found.length === 0) maps.word(phrase);
  return found;
}

function tokenMaps(maps: WordMaps): NamedMap[] {
  const { tokens, ids } = maps.encoded;
  const token = (word: string, positions: number[], map: Tensor) =>
    named(`tokens/${word}`, `token-${word}.png`, { word, index: undefined, tokens: positions, map });
  const ends = [token("start", [0], maps.start), token("end", [tokens - 1], maps.end)];
  return tokens < ids.length ? [...ends, token("padding", range(tokens, ids.length), maps.padding)] : ends;
}

function named(tensor: string, picture: string, rest: Omit<NamedMap, "tensor" | "picture">): NamedMap {
  return { ...rest, tensor, picture };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

/** A word as a part of a file's name on any system. */
export function fileName(word: string): string {
  return word.replace(/[^\p{L}\p{M}\p{N}_-]+/gu, "_").slice(0, 40);
}

/** The largest value, and where it is as shares of width and height. */
function peak(map: Tensor): { value: number; x: number; y: number } {
  const values = map.toFloat32();
  const [height, width] = map.dims as [number, number];
  const at = values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
  return { value: values[at]!, x: ((at % width) + 0.5) / width, y: (Math.floor(at / width) + 0.5) / height };
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`.padStart(4);
}
