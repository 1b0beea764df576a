/** @file What a checkpoint is made of: its tensors, and how each starts before it is trained. */

import { count, type DType } from "../../tensor/index.js";

/** What a tensor is for. */
export type Role = "weight" | "bias" | "scale" | "positions";

/** What a tensor holds before training. */
export type Start =
  | { kind: "uniform"; bound: number }
  | { kind: "normal"; std: number }
  | { kind: "constant"; value: number }
  /** Ones along the diagonal of a square matrix. */
  | { kind: "identity" }
  /** 0, 1, 2, ...: a buffer that nobody trains. */
  | { kind: "positions" };

export interface PlannedTensor {
  key: string;
  dims: readonly number[];
  role: Role;
  /** When it is not that of the numbers around it. */
  dtype?: DType;
  start: Start;
}

/** The tensors of one network, in the order of the file: as safetensors' own writer sorts them. */
export type Layout = readonly PlannedTensor[];

/** Trained numbers: what papers count. */
export function parameterCount(layout: Layout): number {
  return layout.reduce((sum, { dims, role }) => sum + (role === "positions" ? 0 : count(dims)), 0);
}

const zeros: Start = { kind: "constant", value: 0 };
const ones: Start = { kind: "constant", value: 1 };

/** Collects a network's layers, each starting as torch's own module of that kind does. */
export class LayoutBuilder {
  readonly #tensors: PlannedTensor[] = [];

  add(key: string, dims: readonly number[], role: Role, start: Start): void {
    this.#tensors.push({ key, dims, role, start });
  }

  /** Kaiming's uniform start with a = √5, which is U(±1 / √fan-in), for the bias too. */
  weight(key: string, dims: readonly number[], { bias = true }: { bias?: boolean } = {}): void {
    const start: Start = { kind: "uniform", bound: 1 / Math.sqrt(count(dims.slice(1))) };
    this.add(`${key}.weight`, dims, "weight", start);
    if (bias) this.add(`${key}.bias`, [dims[0]!], "bias", start);
  }

  conv(key: string, from: number, to: number, kernel = 3): void {
    this.weight(key, [to, from, kernel, kernel]);
  }

  linear(key: string, from: number, to: number, options: { bias?: boolean } = {}): void {
    this.weight(key, [to, from], options);
  }

  /** A normal weight, its bias 0: as transformers starts its layers. */
  normal(key: string, dims: readonly number[], std: number, { bias = true }: { bias?: boolean } = {}): void {
    this.add(`${key}.weight`, dims, "weight", { kind: "normal", std });
    if (bias) this.add(`${key}.bias`, [dims[0]!], "bias", zeros);
  }

  norm(key: string, channels: number): void {
    this.add(`${key}.weight`, [channels], "scale", ones);
    this.add(`${key}.bias`, [channels], "bias", zeros);
  }

  /** A buffer of positions, which early files hold. */
  positions(key: string, length: number): void {
    const start: Start = { kind: "positions" };
    this.#tensors.push({ key, dims: [1, length], role: "positions", dtype: "i64", start });
  }

  /** diffusers' `ResnetBlock2D`. */
  resnet(
    key: string,
    {
      from,
      to,
      time,
      timeScaleShift = false,
    }: { from: number; to: number; time?: number; timeScaleShift?: boolean },
  ): void {
    this.norm(`${key}.norm1`, from);
    this.conv(`${key}.conv1`, from, to);
    if (time !== undefined) this.linear(`${key}.time_emb_proj`, time, timeScaleShift ? 2 * to : to);
    this.norm(`${key}.norm2`, to);
    this.conv(`${key}.conv2`, to, to);
    if (from !== to) this.conv(`${key}.conv_shortcut`, from, to, 1);
  }

  /** As safetensors' own writer orders them: wide types first, then by name. */
  build(): Layout {
    const wide = ({ dtype }: PlannedTensor) => (dtype === "i64" ? 0 : 1);
    return [...this.#tensors].sort((a, b) => wide(a) - wide(b) || (a.key < b.key ? -1 : 1));
  }
}
