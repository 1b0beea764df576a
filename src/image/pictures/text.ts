/** @file Text without system fonts: three faces of a built-in antialiased glyph atlas. */

import { inflateSync } from "fflate";
import type { Colour, RgbImage } from "../image.js";
import { blendPixel, ink, strokeRectangle } from "./canvas.js";
import { packedGlyphs } from "./glyphs.js";

/** `caption` is 12 pixels regular, `label` 13 medium, `heading` 17 medium: the order of the faces in the atlas. */
const styles = ["caption", "label", "heading"] as const;
export type TextStyle = (typeof styles)[number];

interface Glyph {
  advance: number;
  /** Offset of the coverage from the pen. */
  left: number;
  /** Rows of coverage above the baseline. */
  top: number;
  width: number;
  height: number;
  /** Two pixels a byte, 0 to 15. */
  coverage: Uint8Array;
}

interface Face {
  size: number;
  ascent: number;
  descent: number;
  glyphs: Map<string, Glyph>;
}

let faces: Record<TextStyle, Face> | undefined;

function face(style: TextStyle): Face {
  faces ??= unpack();
  return faces[style];
}

function unpack(): Record<TextStyle, Face> {
  const bytes = inflateSync(Uint8Array.from(atob(packedGlyphs), (character) => character.charCodeAt(0)));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const byte = () => view.getUint8(at++);
  const signed = () => view.getInt8(at++);
  const short = () => view.getUint16((at += 2) - 2, true);
  const readGlyph = (): [string, Glyph] => {
    const character = String.fromCodePoint(short());
    const [advance, left, top, width, height] = [byte(), signed(), signed(), byte(), byte()];
    const length = Math.ceil((width * height) / 2);
    return [character, { advance, left, top, width, height, coverage: bytes.subarray(at, (at += length)) }];
  };
  const readFace = (): Face => {
    const [size, ascent, descent, count] = [byte(), byte(), byte(), short()];
    return { size, ascent, descent, glyphs: new Map(Array.from({ length: count }, readGlyph)) };
  };
  return Object.fromEntries(styles.map((style) => [style, readFace()])) as Record<TextStyle, Face>;
}

/** What is drawn of a text: composed characters; spaces for what breaks lines; no marks or joiners that lack a glyph. */
function characters(text: string, { glyphs }: Face): string[] {
  return [...text.normalize("NFC").replace(/[\s\p{Cc}]/gu, " ")].filter(
    (character) => glyphs.has(character) || !/[\p{Mark}\p{Cf}]/u.test(character),
  );
}

/** Pixels that an unknown character takes: a box, with a pixel of air on both sides. */
function boxAdvance({ size }: Face): number {
  return Math.round(size * 0.55) + 2;
}

function advance(character: string, font: Face): number {
  return font.glyphs.get(character)?.advance ?? boxAdvance(font);
}

/** Width in pixels of a text set in one line. */
export function textWidth(text: string, style: TextStyle): number {
  const font = face(style);
  return characters(text, font).reduce((sum, one) => sum + advance(one, font), 0);
}

/** Pixels from one baseline to the next. */
export function lineHeight(style: TextStyle): number {
  return Math.round(face(style).size * 1.35);
}

/** Draws one line; (x, y) is the top left corner of its line box. Characters outside the atlas become boxes. */
export function drawText(
  image: RgbImage,
  text: string,
  { x, y, style, colour = ink }: { x: number; y: number; style: TextStyle; colour?: Colour },
): void {
  const font = face(style);
  const baseline = y + Math.round((lineHeight(style) + font.ascent - font.descent) / 2);
  let pen = x;
  for (const character of characters(text, font)) {
    const glyph = font.glyphs.get(character);
    if (glyph) drawGlyph(image, glyph, pen, baseline, colour);
    else {
      const height = Math.round(font.size * 0.72);
      const box = { x: pen + 1, y: baseline - height, width: boxAdvance(font) - 2, height };
      strokeRectangle(image, box, colour);
    }
    pen += advance(character, font);
  }
}

function drawGlyph(image: RgbImage, glyph: Glyph, pen: number, baseline: number, colour: Colour): void {
  for (let i = 0; i < glyph.width * glyph.height; i++) {
    const pair = glyph.coverage[i >> 1]!;
    const coverage = i % 2 === 0 ? pair >> 4 : pair & 15;
    if (coverage === 0) continue;
    const column = pen + glyph.left + (i % glyph.width);
    const row = baseline - glyph.top + Math.floor(i / glyph.width);
    blendPixel(image, column, row, colour, coverage / 15);
  }
}

/** The text, or as much of its start as fits with an ellipsis. */
export function fitText(text: string, width: number, style: TextStyle): string {
  if (textWidth(text, style) <= width) return text;
  const font = face(style);
  let room = width - advance("…", font);
  let kept = "";
  for (const character of characters(text, font)) {
    room -= advance(character, font);
    if (room < 0) break;
    kept += character;
  }
  return `${kept.trimEnd()}…`;
}

/** Breaks a text at spaces into at most `maxLines` lines; the last one ends in an ellipsis when text is left over. */
export function wrapText(text: string, width: number, style: TextStyle, maxLines: number): string[] {
  const words = text.split(/\s+/u).filter(Boolean);
  const lines: string[] = [];
  for (let next = 0; next < words.length; ) {
    if (lines.length === maxLines - 1) return [...lines, fitText(words.slice(next).join(" "), width, style)];
    let line = words[next++]!;
    while (next < words.length && textWidth(`${line} ${words[next]}`, style) <= width)
      line += ` ${words[next++]}`;
    lines.push(fitText(line, width, style));
  }
  return lines;
}
