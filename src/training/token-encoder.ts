/** @file One encoder of a description, in the process that needs its tokens: what stores of features and batches share. */

import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { Engine } from "../engine/index.js";
import { failure, misuse, type Tensor } from "../tensor/index.js";
import {
  type EncoderDescription,
  EncoderOpener,
  encoderSchema,
  isRelative,
  type ModelReference,
  type Picture,
  parseDescription,
  resolveModel,
  type StreamShape,
  type VlmDescription,
} from "../vlm/index.js";
import type { OpenOptions } from "../weights/index.js";

/** An encoder's description, or where a diffsight.json has it under a name. */
export const describedEncoder = z.union([
  z.strictObject({ file: z.string().min(1), name: z.string().min(1) }),
  encoderSchema,
]);

/** An encoder, and the folder that its model's relative path begins in. */
export interface FoundEncoder {
  encoder: EncoderDescription;
  folder: string;
}

/** A relative path as one from the root, so that what names it can lie elsewhere. */
export const absoluteModel = (reference: ModelReference, folder: string): ModelReference =>
  isRelative(reference) ? resolve(folder, reference) : reference;

/** @throws misuse DESCRIPTION; failure FILE_MISSING */
export async function encoderDescription(as: z.infer<typeof describedEncoder>): Promise<FoundEncoder> {
  if (!("file" in as)) return { encoder: as, folder: "." };
  const { encoders } = await readDescriptionFile(as.file);
  const encoder = encoders[as.name];
  if (!encoder) {
    const names = Object.keys(encoders).join(", ");
    throw misuse("DESCRIPTION", `${as.file} has no encoder "${as.name}": there are ${names}.`);
  }
  return { encoder, folder: dirname(as.file) };
}

/** A description by the path of its file. @throws misuse DESCRIPTION; failure FILE_MISSING */
export async function readDescriptionFile(file: string): Promise<VlmDescription> {
  const text = await readFile(file, "utf8").catch((cause: Error) => {
    throw failure("FILE_MISSING", `${file} cannot be read: ${cause.message}.`, cause);
  });
  try {
    return parseDescription(JSON.parse(text));
  } catch (cause) {
    throw misuse("DESCRIPTION", `${file}: ${(cause as Error).message}`);
  }
}

export interface TokenEncoder {
  readonly shape: StreamShape;
  /** What the user is to be told of how it was opened. */
  readonly notices: readonly string[];
  /** f16 [tokens, width], as stores hold them; with the text's own pass whole (s = 1) when there is a text. */
  see(picture: Picture, prompt: string): Promise<Tensor>;
  release(): Promise<void>;
}

/** Of thousands of texts that are too long, a few are named. */
const mostNotices = 5;

/** What the user is to be told while something is opened and used. */
export function noticesTaken(): { notices: readonly string[]; onProgress: OpenOptions["onProgress"] } {
  const notices: string[] = [];
  return {
    notices,
    onProgress(event) {
      if (event.status === "notice" && notices.length < mostNotices) notices.push(event.message);
    },
  };
}

const device = { device: "cpu", memory: "fast", threads: 1, host: "here" } as const;

/** @throws DiffsightError what opening its model may raise */
export async function openTokenEncoder({ encoder, folder }: FoundEncoder): Promise<TokenEncoder> {
  const engine = await Engine.open(device);
  const { notices, onProgress } = noticesTaken();
  const opener = new EncoderOpener(engine, { ...device, onProgress });
  const opened = await opener.open(encoder, resolveModel(encoder.model, folder));
  const { tokens, width } = opened.shape;
  return {
    shape: opened.shape,
    notices,
    async see(picture, prompt) {
      const reason = prompt === "" ? "none" : "text";
      const seen = await opened.see(picture, { prompt, guidance: prompt === "" ? 0 : 1, reason });
      return seen.reshape([tokens, width]).to("f16");
    },
    async release() {
      await opener.release();
      await engine.dispose();
    },
  };
}
