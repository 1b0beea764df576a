/** @file A loss curve that grows on a terminal, with a line below it that says how far the work is. */

import { toText } from "../training/index.js";

/** Milliseconds between two drawings. */
const redraw = 150;
const rows = 6;

export class LiveCurve {
  readonly #stream: NodeJS.WriteStream | undefined;
  #title = "";
  #losses: number[] = [];
  #lines = 0;
  #last = 0;

  constructor(stream: NodeJS.WriteStream | undefined) {
    this.#stream = stream?.isTTY ? stream : undefined;
  }

  /** Whether there is a terminal to draw on. */
  get drawn(): boolean {
    return this.#stream !== undefined;
  }

  /** What was drawn stays; a new curve begins below. */
  begin(title: string): void {
    this.end();
    this.#title = title;
    this.#losses = [];
    this.#last = 0;
  }

  show(line: string, loss?: number): void {
    if (loss !== undefined) this.#losses.push(loss);
    if (!this.#stream || Date.now() - this.#last < redraw) return;
    this.#last = Date.now();
    const width = Math.max(30, (this.#stream.columns || 80) - 1);
    const curve = this.#losses.length > 1 ? toText(this.#losses, { columns: width - 10, rows }) : [];
    const lines = [...curve, `${this.#title}: ${line}`.slice(0, width)];
    this.clear();
    this.#stream.write(`${lines.join("\n")}\n`);
    this.#lines = lines.length;
  }

  /** Takes the drawing away, so that something else can be printed. */
  clear(): void {
    if (this.#lines > 0) this.#stream?.write(`\u001b[${this.#lines}A\u001b[J`);
    this.#lines = 0;
  }

  /** Leaves the drawing as it is. */
  end(): void {
    this.#lines = 0;
  }
}
