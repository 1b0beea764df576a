/** @file Loss curves: a line a step as JSON and CSV, a picture as SVG, and a few lines of text for a terminal. */

/** What is logged of a step. */
export interface LoggedStep {
  /** From 1. */
  step: number;
  loss: number;
  metrics: Record<string, number>;
  rate: number;
  norm: number;
  /** Since the run's first step, without pauses. */
  seconds: number;
  validation?: { loss: number; metrics: Record<string, number> };
}

/** One line a step; the columns of metrics are those of the first step and the first validation. */
export function toCsv(steps: readonly LoggedStep[]): string {
  const metrics = Object.keys(steps[0]?.metrics ?? {});
  const validated = steps.find(({ validation }) => validation)?.validation;
  const judged = Object.keys(validated?.metrics ?? {});
  const head = [
    "step",
    "loss",
    ...metrics,
    "lr",
    "norm",
    "seconds",
    ...(validated ? ["validation_loss", ...judged.map((name) => `validation_${name}`)] : []),
  ];
  const rows = steps.map(({ step, loss, metrics: own, rate, norm, seconds, validation }) => [
    step,
    loss,
    ...metrics.map((name) => own[name]),
    rate,
    norm,
    seconds.toFixed(1),
    ...(validated ? [validation?.loss, ...judged.map((name) => validation?.metrics[name])] : []),
  ]);
  return [head, ...rows].map((row) => `${row.map((cell) => cell ?? "").join(",")}\n`).join("");
}

interface Point {
  x: number;
  y: number;
}

/** At most `most` points: each the mean of its neighbours. */
function thinned(points: readonly Point[], most: number): Point[] {
  const size = Math.max(1, Math.ceil(points.length / most));
  const mean = (some: readonly Point[], axis: "x" | "y") =>
    some.reduce((sum, one) => sum + one[axis], 0) / some.length;
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i) => {
    const some = points.slice(i * size, (i + 1) * size);
    return { x: mean(some, "x"), y: mean(some, "y") };
  });
}

/** The losses up to their 99th hundredth, so that the first steps do not flatten the rest, and all that is judged. */
function rangeOf(points: readonly Point[], judged: readonly Point[] = []): [low: number, high: number] {
  const sorted = points.map(({ y }) => y).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
  const validated = judged.map(({ y }) => y);
  const low = Math.min(at(0), ...validated);
  const high = Math.max(sorted.length < 20 ? at(1) : at(0.99), ...validated);
  return high > low ? [low, high] : [low - 0.5, low + 0.5];
}

const short = (value: number) =>
  value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : value.toPrecision(3);

const escaped = (text: string) => text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);

/** The curve of the loss, and of the validation's. */
export function toSvg(steps: readonly LoggedStep[], title: string): string {
  const [width, height, left, top, right, bottom] = [720, 320, 64, 36, 16, 36];
  const train = steps.map(({ step, loss }) => ({ x: step, y: loss }));
  const judged = steps.flatMap(({ step, validation }) =>
    validation ? [{ x: step, y: validation.loss }] : [],
  );
  const [low, high] = rangeOf(thinned(train, 400), judged);
  const last = Math.max(1, steps.at(-1)?.step ?? 1);
  const place = ({ x, y }: Point) => {
    const across = left + ((width - left - right) * x) / last;
    const down =
      top + (height - top - bottom) * (1 - (Math.min(high, Math.max(low, y)) - low) / (high - low));
    return `${across.toFixed(1)},${down.toFixed(1)}`;
  };
  const line = (points: readonly Point[], colour: string) =>
    points.length > 0
      ? `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points.map(place).join(" ")}"/>`
      : "";
  const ticks = [0, 0.5, 1].flatMap((share) => {
    const [value, step] = [low + share * (high - low), Math.round(share * last)];
    const [, down] = place({ x: 0, y: value }).split(",");
    const [across] = place({ x: step, y: low }).split(",");
    return [
      `<line x1="${left}" x2="${width - right}" y1="${down}" y2="${down}" stroke="#ddd"/>`,
      `<text x="${left - 6}" y="${down}" text-anchor="end" dominant-baseline="middle">${short(value)}</text>`,
      `<text x="${across}" y="${height - 14}" text-anchor="${share === 1 ? "end" : "middle"}">${step}</text>`,
    ];
  });
  const legend =
    judged.length > 0 ? '<tspan fill="#06c">training</tspan> <tspan fill="#d60">validation</tspan>' : "";
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="${left}" y="22" font-size="14">${escaped(title)}: loss by step ${legend}</text>`,
    ...ticks,
    line(thinned(train, 400), "#06c"),
    line(judged, "#d60"),
    "</svg>\n",
  ].join("\n");
}

/** The dots of a braille cell: bit of each, by row and column. */
const dots = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
];

/** The curve in braille: `rows` lines of `columns` signs, the range at the left. */
export function toText(
  losses: readonly number[],
  { columns, rows }: { columns: number; rows: number },
): string[] {
  const points = losses.map((y, x) => ({ x, y }));
  const [wide, high] = [columns * 2, rows * 4];
  const shown = thinned(points, wide);
  const [low, top] = rangeOf(shown);
  const cells = Array.from({ length: rows }, () => new Uint8Array(columns));
  for (const [i, { y }] of shown.entries()) {
    const across = Math.floor((i * wide) / Math.max(shown.length, wide));
    const share = (Math.min(top, Math.max(low, y)) - low) / (top - low);
    const down = Math.round((high - 1) * (1 - share));
    const row = cells[Math.floor(down / 4)]!;
    row[across >> 1] = row[across >> 1]! | dots[down % 4]![across % 2]!;
  }
  const labels = [short(top), ...Array<string>(rows - 2).fill(""), short(low)];
  return cells.map((row, i) => {
    const line = [...row].map((bits) => String.fromCharCode(0x2800 + bits)).join("");
    return `${(labels[i] ?? "").padStart(8)} ${line}`;
  });
}
