/** @file What stands on a sign: letters of 5 x 7 dots, as large as the board allows. */

import { misuse } from "../tensor/index.js";
import type { Vector } from "./stage.js";
import { encodeSteps, encodeTable } from "./tables.js";
import { makeTexture, type Texture } from "./texture.js";

/** Seven rows from the top, five bits each, in base 32. */
const glyphs: Record<string, string> = {
  A: "ehhvhhh",
  B: "uhhuhhu",
  C: "ehggghe",
  D: "uhhhhhu",
  E: "vgguggv",
  F: "vgguggg",
  G: "ehgnhhf",
  H: "hhhvhhh",
  I: "e44444e",
  J: "72222ic",
  K: "hikokih",
  L: "ggggggv",
  M: "hrllhhh",
  N: "hhpljhh",
  O: "ehhhhhe",
  P: "uhhuggg",
  Q: "ehhhlid",
  R: "uhhukih",
  S: "fgge11u",
  T: "v444444",
  U: "hhhhhhe",
  V: "hhhhha4",
  W: "hhhllla",
  X: "hha4ahh",
  Y: "hhha444",
  Z: "v1248gv",
  "0": "ehjlphe",
  "1": "4c4444e",
  "2": "eh1248v",
  "3": "v2421he",
  "4": "26aiv22",
  "5": "vgu11he",
  "6": "68guhhe",
  "7": "v124888",
  "8": "ehhehhe",
  "9": "ehhf12c",
  "!": "4444404",
  "?": "eh12404",
};

const [width, height] = [128, 64];

/**
 * The board's picture.
 * @param board linear reflectance; the letters are white on dark boards and black on bright ones
 * @throws DiffsightError SIGN: too long, or with letters that are not known
 */
export function signTexture(text: string, board: Vector, most: number): Texture {
  const unknown = [...text].find((letter) => !(letter in glyphs));
  if (unknown !== undefined) {
    const allowed = Object.keys(glyphs).join("");
    throw misuse("SIGN", `The sign ${JSON.stringify(text)} holds "${unknown}": allowed are ${allowed}.`);
  }
  if (text.length > most) {
    throw misuse("SIGN", `The sign ${JSON.stringify(text)} has ${text.length} letters: at most ${most} fit.`);
  }
  const byte = (light: number) =>
    encodeTable[Math.floor(Math.min(1, Math.max(0, light)) * encodeSteps + 0.5)]!;
  const bright = 0.2126 * board[0] + 0.7152 * board[1] + 0.0722 * board[2] > 0.3;
  const ink = byte(bright ? 0.008 : 0.9);
  const paper = board.map(byte);
  const pixels = new Uint8Array(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) pixels.set(paper, i * 4);

  // Dots are as large as letters and a margin of one dot allow; the margin is the board's own in both directions.
  const columns = text.length * 6 - 1;
  const dot = Math.min((width - 10) / columns, (height - 10) / 7);
  const [left, top] = [(width - dot * columns) / 2, (height - dot * 7) / 2];
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y + 0.5 - top) / dot);
    if (text === "" || row < 0 || row > 6) continue;
    for (let x = 0; x < width; x++) {
      const column = Math.floor((x + 0.5 - left) / dot);
      if (column < 0 || column >= columns || column % 6 === 5) continue;
      const bits = Number.parseInt(glyphs[text[Math.floor(column / 6)]!]![row]!, 32);
      if ((bits >> (4 - (column % 6))) & 1) pixels.fill(ink, (y * width + x) * 4, (y * width + x) * 4 + 3);
    }
  }
  return makeTexture(pixels, width, height);
}
