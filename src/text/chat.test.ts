/** @file What a question is, of all that a user says. */

import { describe, expect, it } from "vitest";
import { questionIn } from "./chat.js";

describe("the question that diffusion is told", () => {
  it.each([
    ["<image>\nWhich way is the dog facing?", "Which way is the dog facing?"],
    ["which way is it facing? left or right?", "which way is it facing?"],
    ["What is this?\nAnswer the question using a single word.", "What is this?"],
    ["Look at <image>  and\n<image>: what differs? Be brief.", "Look at and : what differs?"],
    ["Describe the picture. <image>", "Describe the picture."],
    ["这是什么？请回答。", "这是什么？"],
    ["", ""],
  ])("is of %j: %j", (text, question) => {
    expect(questionIn(text)).toBe(question);
  });
});
