/** @file Weights held against their configs. */

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { layoutOf } from "../src/cli/layout.js";
import { encodeSafetensors, type Tensor } from "../src/tensor/index.js";
import { type ComponentInspection, inspect, openCheckpoint } from "../src/weights/index.js";
import { goldenPath } from "./golden.js";

const embedded = fileURLToPath(new URL("../assets/micro/sd", import.meta.url));
const fitting = { missing: [], unused: [], misshapen: [] };

async function component(folder: string, name: string): Promise<ComponentInspection> {
  const { components } = await inspect(folder, { layoutOf });
  return components.find((one) => one.name === name)!;
}

describe("weights that belong to their config", () => {
  it.each([embedded, ...["sd15", "sd21", "v", "sdxl"].map((name) => goldenPath(`pipeline-${name}`))])(
    "fit: %s",
    async (folder) => {
      const { components } = await inspect(folder, { layoutOf });
      const known = components.filter(({ misfit }) => misfit);
      expect(known.map(({ name }) => name)).toEqual(expect.arrayContaining(["text_encoder", "unet", "vae"]));
      for (const { name, misfit } of known) expect(misfit, name).toEqual(fitting);
    },
  );
});

describe("models that speak and see", () => {
  it.each(["llama", "llama-gqa", "qwen2"])("fit their config: %s", async (name) => {
    const { components, notes } = await inspect(goldenPath(name), { layoutOf });
    expect(components[0]!.misfit).toEqual(fitting);
    expect(notes).toEqual([expect.stringContaining("it speaks for a vision-language model")]);
  });

  it("are named by what they are for", async () => {
    const notesOf = async (folder: string) => (await inspect(folder)).notes;
    expect(await notesOf("embedded:clip")).toEqual([expect.stringContaining("it sees for")]);
    expect(await notesOf(goldenPath("pipeline-llava"))).toEqual([
      "LlavaForConditionalGeneration: ask answers with it.",
    ]);
    const { components, className } = await inspect("embedded:vlm", { layoutOf });
    expect([className, ...components.map((one) => one.className)]).toEqual([
      "VisionLanguageModel",
      undefined,
      "LlamaForCausalLM",
    ]);
    expect(components[1]!.misfit).toEqual(fitting);
    expect(await notesOf("embedded:vlm")).toEqual([
      "A vision-language model of diffsight's: ask answers with it. It sees through clip (embedded:clip) and sd (embedded:sd), and speaks by ./llm.",
    ]);
  });
});

describe("weights of another network", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "diffsight-inspect-"));
    await cp(embedded, folder, { recursive: true });
  });
  afterAll(() => rm(folder, { recursive: true }));

  async function change(path: string, fields: object): Promise<void> {
    const config = JSON.parse(await readFile(join(embedded, path), "utf8")) as object;
    await writeFile(join(folder, path), JSON.stringify({ ...config, ...fields }));
  }

  it("are told apart by what the config's network has, and what it has not", async () => {
    await change("unet/config.json", { layers_per_block: 3 });
    const { components, notes } = await inspect(folder, { layoutOf });
    const { misfit } = components.find(({ name }) => name === "unet")!;
    expect(misfit!.missing).toContain("down_blocks.0.resnets.2.conv1.weight");
    expect(notes.at(-1)).toBe(
      "The config is of another network than the weights: unet. What needs them fails.",
    );
    await change("vae/config.json", { use_quant_conv: false });
    expect((await component(folder, "vae")).misfit).toMatchObject({
      missing: [],
      unused: ["quant_conv.bias", "quant_conv.weight"],
    });
  });

  it("are told apart by shape", async () => {
    await change("unet/config.json", { in_channels: 9 });
    expect((await component(folder, "unet")).misfit).toMatchObject({
      misshapen: [{ key: "conv_in.weight", wanted: expect.arrayContaining([9]) }],
    });
  });

  it("hold what a file has beside the network", async () => {
    const path = "unet/diffusion_pytorch_model.safetensors";
    await cp(join(embedded, "unet"), join(folder, "unet"), { recursive: true });
    const checkpoint = await openCheckpoint(join(embedded, path));
    const tensors: Record<string, Tensor> = {};
    for (const key of checkpoint.entries.keys()) tensors[key] = await checkpoint.read(key);
    tensors["extra.weight"] = tensors["conv_in.bias"]!;
    delete tensors["conv_out.bias"];
    await writeFile(join(folder, path), encodeSafetensors(tensors));
    expect((await component(folder, "unet")).misfit).toEqual({
      missing: ["conv_out.bias"],
      unused: ["extra.weight"],
      misshapen: [],
    });
  });

  it("have a problem where the config itself is not supported", async () => {
    await change("unet/config.json", { class_embed_type: "timestep" });
    const { misfit, problem } = await component(folder, "unet");
    expect(misfit).toBeUndefined();
    expect(problem).toContain("class_embed_type");
  });
});
