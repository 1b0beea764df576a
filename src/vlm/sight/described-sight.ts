/** @file Seeing as a folder's `diffsight.json` describes it. */

import { Memory } from "../../diffusion/index.js";
import type { CallOptions, Engine, Program } from "../../engine/index.js";
import { input, reshape, type Value } from "../../graph/index.js";
import type { Tensor } from "../../tensor/index.js";
import { type Checkpoint, Scope } from "../../weights/index.js";
import { type Conditioning, conditionOn } from "../conditioning.js";
import type { EncoderDescription, VlmDescription } from "../description.js";
import type { EncoderOpener, ModelSource, OpenEncoder, Told } from "./encoders.js";
import { planSight } from "./plan.js";
import type { DiffusionLook, DiffusionPrompt, DiffusionTold, Picture, Sight, Steer } from "./sight.js";

/** Rows of pictures that were seen. */
const memoryBytes = 128 * 2 ** 20;

export class DescribedSight implements Sight {
  readonly #memory = new Memory(memoryBytes);

  private constructor(
    readonly width: number,
    readonly tokens: number,
    readonly description: VlmDescription,
    readonly encoders: ReadonlyMap<string, OpenEncoder>,
    readonly program: Program,
    readonly opener: EncoderOpener,
  ) {}

  /**
   * @param locate where a reference of the description is to be opened
   * @param checkpoint the trained tensors
   * @param width the language model's
   * @throws DiffsightError WEIGHT_MISSING, WEIGHT_SHAPE, FUSION; what opening encoders may raise
   */
  static async open(
    description: VlmDescription,
    checkpoint: Checkpoint,
    width: number,
    {
      engine,
      opener,
      locate,
    }: {
      engine: Engine;
      opener: EncoderOpener;
      locate: (model: VlmDescription["language"]["model"]) => ModelSource;
    },
  ): Promise<DescribedSight> {
    const encoders = new Map<string, OpenEncoder>();
    for (const [name, encoder] of Object.entries(description.encoders))
      encoders.set(name, await opener.open(encoder, locate(encoder.model)));
    const shapes = Object.fromEntries([...encoders].map(([name, { shape }]) => [name, shape]));
    const plan = planSight(description, shapes, width);
    const streams: Record<string, Value> = {};
    for (const [name, { tokens, width }] of Object.entries(shapes))
      streams[name] = input(`see.${name}`, [1, tokens, width]);
    const rows = reshape(plan.rows(Scope.of(checkpoint), streams), [plan.tokens, width]);
    const program = engine.compile({ rows });
    return new DescribedSight(width, plan.tokens, description, encoders, program, opener);
  }

  /** What each encoder is told. */
  #choices({ question, caption, diffusion }: Steer): Map<string, Told> {
    const questions = question === undefined ? [] : [question];
    const row = { id: "asked", caption, pseudoCaption: caption, questions };
    const draw = { seed: 0, epoch: 0 };
    return new Map(
      Object.entries(this.description.encoders).map(([name, encoder]): [string, Told] => {
        if (encoder.kind === "diffusion") {
          const { inference } = encoder.conditioning;
          const chosen =
            diffusion?.prompt === undefined
              ? conditionOn({ ...inference, ...undropped }, row, draw)
              : { prompt: diffusion.prompt, guidance: guidanceOf(inference), reason: "text" as const };
          if (chosen.reason === "missing") this.#tellMissing(name, inference.text);
          const told = { ...chosen, ...instead(diffusion) };
          return [name, isHeard(encoder, told) ? told : silence];
        }
        const prompt = encoder.kind === "text" ? (question ?? "") : "";
        return [name, { prompt, guidance: 0, reason: prompt === "" ? "none" : "text" }];
      }),
    );
  }

  /** Without a question a question is not missed; other texts nobody has given. */
  #tellMissing(name: string, text: Conditioning["text"]): void {
    if (text === "question" || text === "random-question") return;
    this.opener.notify(
      name,
      `"${name}" is told a ${text} when something is asked (conditioning.inference of diffsight.json), and none is given: it ` +
        "sees as if told nothing. Give a text (`caption`, `diffusion.prompt`, `ask --prompt`), or say " +
        '{ "text": "question" } or { "text": "none" } there.',
    );
  }

  steered(steer: Steer): string {
    return JSON.stringify([...this.#choices(steer)]);
  }

  told(steer: Steer): DiffusionTold[] {
    return [...this.#choices(steer)]
      .filter(([encoder]) => this.description.encoders[encoder]!.kind === "diffusion")
      .map(([encoder, { prompt, guidance }]) => ({ encoder, prompt, guidance }));
  }

  async rows(picture: Picture, steer: Steer, call: CallOptions = {}): Promise<Tensor> {
    const choices = this.#choices(steer);
    const seen = await this.#memory.recall(`${picture.key} ${JSON.stringify([...choices])}`, async () => {
      const feeds: Record<string, Tensor> = {};
      for (const [name, encoder] of this.encoders)
        feeds[`see.${name}`] = await encoder.see(picture, choices.get(name)!, call);
      return this.program.run(feeds, call);
    });
    return seen.rows!;
  }

  async looks(picture: Picture, steer: Steer, call: CallOptions = {}): Promise<DiffusionLook[]> {
    const looks: DiffusionLook[] = [];
    const choices = this.#choices(steer);
    for (const told of this.told(steer)) {
      const look = await this.encoders.get(told.encoder)!.look?.(picture, choices.get(told.encoder)!, call);
      if (look) looks.push({ ...told, ...look });
    }
    return looks;
  }

  async prepare(): Promise<void> {
    for (const encoder of this.encoders.values()) await encoder.prepare();
    await this.program.prepare();
  }

  async release(): Promise<void> {
    await this.program.release();
    await this.opener.release();
  }
}

type DiffusionDescription = Extract<EncoderDescription, { kind: "diffusion" }>;

const silence: Told = { prompt: "", guidance: 0, reason: "none" };

/** Whether a text makes a difference to what an encoder gives. */
function isHeard({ part }: DiffusionDescription, { prompt, guidance }: Told): boolean {
  return prompt !== "" && part !== "unconditional" && (part !== "guided" || guidance !== 0);
}

function guidanceOf(inference: Conditioning): number {
  return "guidance" in inference ? inference.guidance : 0;
}

/** What is said of the guidance and of the layers that hear a text, whatever the text. */
function instead({ guidance, textLayers }: DiffusionPrompt = {}): Partial<Told> {
  return { ...(guidance !== undefined && { guidance }), ...(textLayers && { textLayers }) };
}

/** When a question is asked nothing is dropped by chance. */
const undropped = { dropout: 0 };
