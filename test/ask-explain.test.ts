/** @file `ask --explain`: where diffusion looked, as a user sees it. */

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { decodeSafetensors } from "../src/tensor/index.js";
import { run, temporaryFolder } from "./cli.js";
import { writeVlmFolder } from "./vlm-folder.js";

const folder = temporaryFolder();
const picture = fileURLToPath(new URL("../assets/scenes/box.png", import.meta.url));

it("tells diffusion what --prompt and --guidance say, in place of the question", async () => {
  const at = await writeVlmFolder(path.join(folder, "steered"), { alone: "sd" });
  const out = path.join(folder, "steered-looks");
  const flags = ["--max-tokens", "2", "--threads", "1", "--explain", out];
  const steer = ["--prompt", "a red box", "--guidance", "1.5"];
  const { status } = await run(["ask", picture, "What is this?", "-m", at, ...flags, ...steer]);
  expect(status).toBe(0);
  expect(JSON.parse(readFileSync(path.join(out, "index.json"), "utf8"))).toMatchObject({
    question: "What is this?",
    told: [{ encoder: "sd", prompt: "a red box", guidance: 1.5 }],
  });
  expect(readFileSync(path.join(out, "index.html"), "utf8")).toContain("a red box");
});

it("writes overlays, the numbers and one page beside the answer", async () => {
  const at = await writeVlmFolder(path.join(folder, "vlm"), { alone: "sd" });
  const out = path.join(folder, "looks");
  const question = "Is the <box> red?";
  const flags = ["--max-tokens", "2", "--json", "--threads", "1", "--explain", out];
  const { status, stdout } = await run(["ask", picture, question, "-m", at, ...flags]);
  expect(status).toBe(0);
  const { answer } = JSON.parse(stdout);

  const index = JSON.parse(readFileSync(path.join(out, "index.json"), "utf8"));
  expect(index).toMatchObject({
    question,
    answer,
    images: [picture],
    told: [{ encoder: "sd", prompt: question, guidance: 4 }],
    maps: "maps.safetensors",
  });
  expect(index.pictures[0]).toEqual({
    image: picture,
    encoder: "sd",
    tensor: "sd/delta",
    picture: "sd/delta.png",
  });
  const { tensors } = decodeSafetensors(readFileSync(path.join(out, "maps.safetensors")));
  expect([...tensors.keys()].sort()).toEqual(
    index.pictures.map((one: { tensor: string }) => one.tensor).sort(),
  );
  expect(tensors.get("sd/delta")!.dims).toEqual([8, 8]);
  for (const { picture } of index.pictures) expect(existsSync(path.join(out, picture))).toBe(true);

  const page = readFileSync(path.join(out, "index.html"), "utf8");
  expect(page.match(/<img /g)).toHaveLength(index.pictures.length);
  expect(page).toContain("Is the &lt;box&gt; red?");
  expect(page).not.toMatch(/src="(?!data:)/);
});
