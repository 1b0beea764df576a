/** @file Progress on stderr: one line that is drawn anew on a terminal, a line a phase elsewhere. */

import type { JobProgress } from "../diffusion/index.js";
import type { ProgressEvent } from "../weights/index.js";

const phases: Record<JobProgress["phase"], string> = {
  text: "encoding the text",
  image: "encoding the picture",
  unet: "U-Net",
  decode: "decoding the picture",
};

/** Milliseconds between two drawings of the line, and between two lines of a log. */
const redraw = 80;
const relog = 10_000;
const barWidth = 24;

export class Progress {
  readonly #stream: NodeJS.WriteStream | undefined;
  #drawn = false;
  #last = { label: "", time: 0 };
  /** What the work is part of: "photo.jpg", or "12/300 images". */
  #context = "";
  #started = Date.now();

  /** @param stream where to draw; undefined draws nothing */
  constructor(stream: NodeJS.WriteStream | undefined) {
    this.#stream = stream;
  }

  /** Counts through many images; the remaining time is told once a few are done. */
  item(done: number, total: number, name: string): void {
    if (total < 2) return;
    if (done === 0) this.#started = Date.now();
    const left = done > 0 ? ((Date.now() - this.#started) / done) * (total - done) : 0;
    const rest = done >= 2 ? `, ${formatDuration(left)} left` : "";
    this.#context = `${name} (${done + 1} of ${total}${rest})`;
    if (!this.#stream?.isTTY) this.#log(this.#context, done === 0 ? 0 : relog);
  }

  /** Takes what a job of the library reports. */
  readonly job = ({ phase, done, total }: JobProgress): void => {
    this.show(phases[phase], done, total);
  };

  /** Takes what opening a model reports. */
  readonly model = (event: ProgressEvent): void => {
    if (event.status === "progress") {
      const { file, loaded, total } = event;
      const label = `downloading ${file}`;
      this.#draw(label, loaded, total, `${formatBytes(loaded)} of ${formatBytes(total)}`);
    } else if (event.status === "notice") {
      this.clear();
      this.#stream?.write(`${event.message}\n`);
    }
  };

  /** @param done of `total` steps; both may be left out where there is nothing to count */
  show(label: string, done = 0, total = 0): void {
    this.#draw(label, done, total, total > 1 ? `${Math.min(done + 1, total)} of ${total}` : "");
  }

  #draw(label: string, done: number, total: number, count: string): void {
    if (!this.#stream) return;
    if (!this.#stream.isTTY) {
      // Many images report by item(); one image reports each phase once.
      if (this.#context === "" && label !== this.#last.label)
        this.#log(count ? `${label} (${count})` : label, 0, label);
      return;
    }
    const now = Date.now();
    if (label === this.#last.label && now - this.#last.time < redraw && done < total) return;
    this.#last = { label, time: now };
    const filled = total > 1 ? Math.round((Math.min(done, total) / total) * barWidth) : 0;
    const bar = total > 1 ? `${"█".repeat(filled)}${"░".repeat(barWidth - filled)} ` : "";
    const text = [this.#context, label, count].filter(Boolean).join(" · ");
    const room = Math.max(20, (this.#stream.columns || 80) - 1);
    this.#stream.write(`\r\u001b[K${`${bar}${text}`.slice(0, room)}`);
    this.#drawn = true;
  }

  #log(text: string, atMostEvery: number, label = this.#last.label): void {
    const now = Date.now();
    if (atMostEvery > 0 && now - this.#last.time < atMostEvery) return;
    this.#last = { label, time: now };
    this.#stream?.write(`${text}\n`);
  }

  /** Takes the line away, so that something else can be printed. */
  clear(): void {
    if (this.#drawn) this.#stream?.write("\r\u001b[K");
    this.#drawn = false;
  }
}

export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  let value = bytes;
  while (value >= 999.5 && power < units.length - 1) {
    value /= 1000;
    power++;
  }
  return `${power === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

export function formatDuration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${seconds % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
