/** @file A program that trains the tiny task in the folder it is given, for tests that kill it. */

import { readFileSync } from "node:fs";
import { settingsSchema, train } from "../../src/training/index.js";
import { tiny } from "./tiny.js";

const [folder, text, threads] = process.argv.slice(2) as [string, string, string];
const { config, settings } = JSON.parse(readFileSync(text, "utf8"));
const request = { ...tiny(folder, settingsSchema.parse(settings), config), threads: Number(threads) };
const { steps } = await train({ ...request, onStep: ({ step }) => void process.stdout.write(`${step} `) });
process.stdout.write(`done: ${steps}`);
