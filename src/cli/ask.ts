/** @file `diffsight ask`: a question about pictures, answered as it is computed. */

import { createInterface } from "node:readline/promises";
import { type Command, Option } from "commander";
import type { Fit } from "../image/index.js";
import { DiffsightError, misuse } from "../tensor/index.js";
import type { Turn } from "../text/index.js";
import type { Answer, AskOptions, DiffusionPrompt, SteerOptions, VisionLanguageModel } from "../vlm/index.js";
import {
  examples,
  list,
  type ModelFlags,
  modelFlags,
  outputFlags,
  realNumber,
  wholeNumber,
} from "./flags.js";
import { readImage } from "./images.js";
import { openOptions } from "./open.js";
import type { Shell } from "./shell.js";

interface AskFlags extends ModelFlags {
  image?: string[];
  maxTokens: number;
  temperature: number;
  topP: number;
  topK: number;
  repetitionPenalty?: number;
  stop?: string[];
  seed: number;
  system?: string;
  fit?: Fit;
  template?: string;
  vision?: string;
  language?: string;
  ignoreEos?: boolean;
  prompt?: string;
  guidance?: number;
  explain?: string;
  interactive?: boolean;
  json?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("<image> [question] [flags]")
    .description(
      "Answers a question about a picture, or about several: a vision-language model of diffsight's, or a LLaVA in either " +
        "layout. The answer is streamed; greedy unless --temperature says otherwise.",
    )
    .argument("<image>", "file, address, or - for stdin")
    .argument(
      "[question]",
      "what to answer; <image> in it stands where a picture belongs, else pictures come first",
    )
    .optionsGroup("What:")
    .option("--image <image>", "one more picture; repeatable", list(String))
    .option("--interactive", "a conversation: questions from the terminal, until an empty line")
    .option("--system <text>", "instead of the template's own words at the beginning")
    .option("--explain <folder>", "also where diffusion looked: overlays, maps.safetensors and index.html")
    .optionsGroup("Steering:")
    .option("--prompt <text>", 'what diffusion is told, in place of what the model chooses; "" for nothing')
    .option("--guidance <s>", "how strongly (default: the model's own)", realNumber)
    .optionsGroup("Answering:")
    .option("--max-tokens <n>", "the longest answer", wholeNumber, 512)
    .option("--temperature <x>", "0 takes the likeliest token always", realNumber, 0)
    .option(
      "--top-p <x>",
      "draws among the likeliest tokens that reach this probability together",
      realNumber,
      1,
    )
    .option("--top-k <n>", "draws among so many of the likeliest tokens; 0 for all", wholeNumber, 0)
    .option(
      "--repetition-penalty <x>",
      "makes tokens that occurred less likely; 1 for none (default: generation_config.json's)",
      realNumber,
    )
    .option("--stop <text>", "ends the answer; repeatable", (text: string, before: string[] = []) => [
      ...before,
      text,
    ])
    .option("--seed <n>", "of the draws", wholeNumber, 0)
    .option("--ignore-eos", "goes on where the model would end")
    .optionsGroup("Reading:")
    .addOption(
      new Option(
        "--fit <how>",
        "how a LLaVA's pictures are brought to size (default: the checkpoint's own way)",
      ).choices(["squash", "crop", "pad"]),
    )
    .option(
      "--template <name>",
      "how the conversation is written: vicuna_v1, llava_llama_2 ...; chat: the model's own",
    )
    .option("--vision <path|id>", "a LLaVA's vision encoder, in place of what its config names")
    .option("--language <path|id>", "the language model of a folder that holds a projector alone");
  modelFlags(command, "a vision-language model");
  outputFlags(command, { json: "print the answer as JSON" });
  examples(
    command,
    ['ask photo.jpg "Is the dog to the left of the cat?" --model path/to/llava', "one answer"],
    [
      'ask a.jpg --image b.jpg "What is different?" --model path/to/llava --temperature 0.2',
      "about two pictures",
    ],
    [
      'ask photo.jpg "Where is the dog?" --model my-vlm --explain looks',
      "and where diffusion looked, as a page",
    ],
  );
  command.action((image: string, question: string | undefined, flags: AskFlags) =>
    ask(image, question, flags, shell),
  );
}

async function ask(
  image: string,
  question: string | undefined,
  flags: AskFlags,
  shell: Shell,
): Promise<void> {
  shell.configure(flags);
  const { interactive = false, json = false } = flags;
  if (!interactive && question === undefined)
    throw misuse("QUESTION", "A question is missing; or --interactive.");
  if (interactive && json) throw misuse("USAGE", "--json is for one answer, not for --interactive.");
  if (interactive && flags.explain !== undefined)
    throw misuse("USAGE", "--explain is for one answer, not for --interactive.");
  if (interactive && image === "-")
    throw misuse("USAGE", "With --interactive stdin is for questions, not for a picture.");
  const source = flags.model ?? "embedded:vlm";
  if (flags.explain !== undefined) await shell.checkWritable(flags.explain, { folder: true });
  const sources = [image, ...(flags.image ?? [])];
  const images = await Promise.all(sources.map(readImage));
  const { VisionLanguageModel } = await import("../vlm/index.js");
  await using model = await VisionLanguageModel.fromPretrained(source, {
    ...openOptions(flags, shell),
    device: flags.device,
    memory: flags.memory,
    passes: interactive ? 1000 : flags.maxTokens,
    ...(flags.threads !== undefined && { threads: flags.threads }),
    fit: flags.fit,
    template: flags.template,
    vision: flags.vision,
    language: flags.language,
  });
  const diffusion: DiffusionPrompt = { prompt: flags.prompt, guidance: flags.guidance };
  if (flags.prompt !== undefined || flags.guidance !== undefined) checkSteerable(model, diffusion);
  if (flags.explain !== undefined) checkExplainable(model, question!, { diffusion });
  const options: AskOptions = {
    maxTokens: flags.maxTokens,
    temperature: flags.temperature,
    topP: flags.topP,
    topK: flags.topK,
    ...(flags.repetitionPenalty !== undefined && { repetitionPenalty: flags.repetitionPenalty }),
    stop: flags.stop ?? [],
    seed: flags.seed,
    ...(flags.system !== undefined && { system: flags.system }),
    ...(flags.ignoreEos && { ignoreEos: true }),
    diffusion,
    signal: shell.signal,
  };
  if (interactive) return await converse(model, images, question, options, shell);
  const answer = model.ask(images, question!, options);
  if (json) {
    const text = await answer.whole();
    shell.json({ answer: text.trim(), tokens: answer.ids.length, finish: answer.finish });
    noteEnd(answer, shell);
  } else await tell(answer, shell);
  if (flags.explain === undefined) return;
  const { writeExplanation } = await import("./ask/explain.js");
  shell.progress.show("where diffusion looked");
  const looks = await model.explain(images, question!, { diffusion, signal: shell.signal });
  const told = { images: sources, question: question!, answer: answer.text.trim(), looks };
  await writeExplanation(flags.explain, told, shell);
  shell.note(`${flags.explain}/index.html shows where diffusion looked`);
}

/**
 * That what is to steer is heard.
 * @throws misuse PROMPT before anything is computed
 */
function checkSteerable(model: VisionLanguageModel, diffusion: DiffusionPrompt): void {
  const told = (instead: DiffusionPrompt) => model.told("Any question?", { diffusion: instead });
  const isHeard = (instead: DiffusionPrompt) => told(instead).some(({ prompt }) => prompt !== "");
  if (told({ prompt: "" }).length === 0)
    throw misuse(
      "PROMPT",
      `${model.source} has no diffusion encoder that --prompt and --guidance could steer.`,
    );
  const { prompt, guidance } = diffusion;
  if (prompt === "" || guidance === 0 || isHeard(diffusion)) return;
  if (!isHeard({ prompt: "any text", guidance: 1 }))
    throw misuse(
      "PROMPT",
      `${model.source} takes of diffusion what no text changes (part of diffsight.json): --prompt and --guidance cannot steer it.`,
    );
  const [given, missing] = prompt === undefined ? ["--guidance", "--prompt"] : ["--prompt", "--guidance"];
  throw misuse(
    "PROMPT",
    `${model.source} tells diffusion nothing when it is asked (conditioning.inference of diffsight.json): ${given} is heard with ${missing} beside it.`,
  );
}

/** @throws misuse EXPLAIN before anything is computed */
function checkExplainable(model: VisionLanguageModel, question: string, steer: SteerOptions): void {
  const told = model.told(question, steer);
  if (told.length === 0)
    throw misuse(
      "EXPLAIN",
      `${model.source} has no diffusion encoder: there is nothing for --explain to show.`,
    );
  if (told.every(({ prompt }) => prompt === "")) {
    const names = told.map(({ encoder }) => encoder).join(", ");
    throw misuse(
      "EXPLAIN",
      `The question is told to none of ${model.source}'s diffusion encoders (${names}: conditioning.inference): there is nothing for --explain to show.`,
    );
  }
}

async function tell(answer: Answer, shell: Shell): Promise<void> {
  let begun = false;
  try {
    for await (const piece of answer) {
      const text: string = begun ? piece : piece.trimStart();
      begun ||= text !== "";
      shell.out(text);
    }
  } catch (error) {
    if (begun) shell.line();
    throw error;
  }
  shell.line();
  noteEnd(answer, shell);
}

function noteEnd({ outOfPositions }: Answer, shell: Shell): void {
  if (outOfPositions) shell.note("the answer ends here because the language model has no more positions");
}

/**
 * Questions and answers until an empty line or the end of the input. A turn that fails is told and dropped; where nobody
 * sits at a terminal, the exit status remembers the first.
 */
async function converse(
  model: VisionLanguageModel,
  images: Parameters<VisionLanguageModel["answer"]>[1],
  first: string | undefined,
  options: AskOptions,
  shell: Shell,
): Promise<void> {
  const terminal = createInterface({
    input: process.stdin,
    output: process.stderr,
    terminal: process.stdin.isTTY,
  });
  const turns: Turn[] = [];
  let failed: DiffsightError | undefined;
  try {
    const lines = terminal[Symbol.asyncIterator]();
    for (let question = first; ; question = undefined) {
      if (question === undefined) {
        terminal.setPrompt("> ");
        terminal.prompt();
        const { value, done } = await lines.next();
        question = done ? "" : (value as string).trim();
      }
      if (question === "") break;
      const shown = turns.length === 0 ? `${"<image>\n".repeat(images.length)}${question}` : question;
      const asked: Turn = { role: "user", text: shown };
      const answer = model.answer([...turns, asked], images, options);
      try {
        await tell(answer, shell);
        turns.push(asked, { role: "assistant", text: answer.text.trim() });
      } catch (error) {
        if (shell.interrupted || !(error instanceof DiffsightError)) throw error;
        shell.error(error);
        failed ??= error;
      }
    }
  } finally {
    terminal.close();
  }
  if (failed && !process.stdin.isTTY) process.exitCode = failed.misuse ? 2 : 1;
}
