/** @file Laying out pictures with titles, legends and captions: one figure, a contact sheet, sections of rows. */

import { misuse } from "../../tensor/index.js";
import type { Colour, RgbImage } from "../image.js";
import { blankSheet, fillRectangle, greyInk, hairline, ink, paste, strokeRectangle } from "./canvas.js";
import { type ColormapName, colormapTable } from "./colormap.js";
import { drawText, lineHeight, type TextStyle, textWidth, wrapText } from "./text.js";

/** What the colours mean: a bar between two numbers, or colours with their names. */
export type Legend = { colormap: ColormapName; low: string; high: string } | { keys: readonly ColourKey[] };

export interface ColourKey {
  colour: Colour;
  text: string;
}

/** A picture with the words around it: title above; legend, then caption below. */
export interface Tile {
  image: RgbImage;
  title?: string;
  caption?: string;
  legend?: Legend;
}

export interface SheetOptions {
  title?: string;
  subtitle?: string;
}

/** A row of tiles under a heading; `undefined` keeps a column free. */
export interface Section {
  heading?: string;
  /** Grey, after the heading. */
  note?: string;
  tiles: readonly (Tile | undefined)[];
}

const margin = 20;
const columnGap = 16;
const rowGap = 20;
const textGap = 6;
const barHeight = 8;
/** Narrower pictures still get this much room, so that titles and numbers below can be read. */
const minimumColumn = 112;

/**
 * Tiles in a grid, left to right, top to bottom; for words, layers or timesteps side by side.
 * @param options columns: 4 unless told
 */
export function contactSheet(
  tiles: readonly Tile[],
  { columns = 4, ...options }: SheetOptions & { columns?: number } = {},
): RgbImage {
  if (!Number.isInteger(columns) || columns < 1) {
    throw misuse("COLUMNS", `The number of columns is a whole number from 1 up, not ${columns}.`);
  }
  const rows = Array.from({ length: Math.ceil(tiles.length / columns) }, (_, row) => ({
    tiles: tiles.slice(row * columns, (row + 1) * columns),
  }));
  return sheet(rows, options);
}

/** Sections one below the other, their columns aligned. */
export function sheet(sections: readonly Section[], { title, subtitle }: SheetOptions = {}): RgbImage {
  const columns = columnWidths(sections);
  const content =
    columns.reduce((sum, width) => sum + width, 0) + columnGap * Math.max(columns.length - 1, 0);
  const inner = Math.max(content, minimumColumn);
  const head = [...lines(title, inner, "heading", 3, ink), ...lines(subtitle, inner, "caption", 3, greyInk)];
  const rows = sections.map((section) => layRow(section, columns, inner));

  const headHeight = head.length > 0 ? textHeight(head) + rowGap - textGap : 0;
  const bodyHeight = rows.reduce((sum, row) => sum + row.height, 0) + rowGap * Math.max(rows.length - 1, 0);
  const page = blankSheet(inner + 2 * margin, headHeight + bodyHeight + 2 * margin);
  drawLines(page, head, margin, margin);
  let y = margin + headHeight;
  for (const row of rows) {
    row.draw(page, y);
    y += row.height + rowGap;
  }
  return page;
}

interface Line {
  text: string;
  style: TextStyle;
  colour: Colour;
}

function lines(
  text: string | undefined,
  width: number,
  style: TextStyle,
  most: number,
  colour: Colour,
): Line[] {
  return text ? wrapText(text, width, style, most).map((line) => ({ text: line, style, colour })) : [];
}

function textHeight(block: readonly Line[]): number {
  return block.reduce((sum, { style }) => sum + lineHeight(style), 0);
}

function drawLines(page: RgbImage, block: readonly Line[], x: number, top: number): void {
  let y = top;
  for (const { text, style, colour } of block) {
    drawText(page, text, { x, y, style, colour });
    y += lineHeight(style);
  }
}

function columnWidths(sections: readonly Section[]): number[] {
  const count = Math.max(0, ...sections.map(({ tiles }) => tiles.length));
  return Array.from({ length: count }, (_, column) =>
    Math.max(minimumColumn, ...sections.map(({ tiles }) => tiles[column]?.image.width ?? 0)),
  );
}

interface Row {
  height: number;
  draw(page: RgbImage, top: number): void;
}

/** Within a row titles end, pictures begin and legends begin at common heights. */
function layRow({ heading, note, tiles }: Section, columns: readonly number[], inner: number): Row {
  const headings = [...lines(heading, inner, "label", 2, ink), ...lines(note, inner, "caption", 2, greyInk)];
  const blocks = tiles.map((tile, i) => ({
    tile,
    title: lines(tile?.title, columns[i]!, "label", 2, ink),
    caption: lines(tile?.caption, columns[i]!, "caption", 3, greyInk),
  }));
  const tallest = (sizes: number[]) => Math.max(0, ...sizes);
  const headingHeight = headings.length > 0 ? textHeight(headings) + textGap : 0;
  const titleHeight = tallest(
    blocks.map(({ title }) => (title.length > 0 ? textHeight(title) + textGap - 2 : 0)),
  );
  const imageHeight = tallest(blocks.map(({ tile }) => tile?.image.height ?? 0));
  const legendHeight = blocks.some(({ tile }) => tile?.legend) ? textGap + lineHeight("caption") : 0;
  const captionHeight = tallest(
    blocks.map(({ caption }) => (caption.length > 0 ? textGap - 2 + textHeight(caption) : 0)),
  );
  return {
    height: headingHeight + titleHeight + imageHeight + legendHeight + captionHeight,
    draw(page, top) {
      drawLines(page, headings, margin, top);
      const titleTop = top + headingHeight;
      const imageTop = titleTop + titleHeight;
      let x = margin;
      blocks.forEach(({ tile, title, caption }, i) => {
        if (tile) {
          const { image, legend } = tile;
          drawLines(page, title, x, titleTop);
          paste(page, image, x, imageTop);
          const frame = { x: x - 1, y: imageTop - 1, width: image.width + 2, height: image.height + 2 };
          strokeRectangle(page, frame, hairline);
          const legendTop = imageTop + image.height + textGap;
          const legendWidth = Math.max(image.width, minimumColumn);
          if (legend) drawLegend(page, legend, x, legendTop, legendWidth);
          const captionTop = legend ? legendTop + lineHeight("caption") + textGap - 2 : legendTop - 2;
          drawLines(page, caption, x, captionTop);
        }
        x += columns[i]! + columnGap;
      });
    },
  };
}

function drawLegend(page: RgbImage, legend: Legend, x: number, y: number, width: number): void {
  const middle = y + Math.floor((lineHeight("caption") - barHeight) / 2);
  const text = (content: string, at: number) =>
    drawText(page, content, { x: at, y, style: "caption", colour: greyInk });
  if ("keys" in legend) {
    let at = x;
    for (const { colour, text: name } of legend.keys) {
      fillRectangle(page, { x: at, y: middle, width: barHeight, height: barHeight }, colour);
      text(name, at + barHeight + 4);
      at += barHeight + 4 + textWidth(name, "caption") + 12;
    }
    return;
  }
  const start = x + textWidth(legend.low, "caption") + 6;
  const end = x + width - textWidth(legend.high, "caption") - 6;
  text(legend.low, x);
  text(legend.high, end + 6);
  const table = colormapTable(legend.colormap);
  for (let column = start; column < end; column++) {
    const step = Math.round(((column - start) / Math.max(end - start - 1, 1)) * 255);
    const colour = [table[step * 3]!, table[step * 3 + 1]!, table[step * 3 + 2]!] as const;
    fillRectangle(page, { x: column, y: middle, width: 1, height: barHeight }, colour);
  }
}
