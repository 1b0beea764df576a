/** @file Every tap of the U-Nets against diffusers, once per convolution algorithm. */

import { afterAll, describe, expect, it } from "vitest";
import { listTaps } from "../src/diffusion/taps.js";
import { Engine } from "../src/engine/index.js";
import { input } from "../src/graph/index.js";
import { readUnetConfig, sinusoids, unet } from "../src/models/index.js";
import type { Tensor } from "../src/tensor/index.js";
import { openModel, Scope } from "../src/weights/index.js";
import { expectClose, Golden, type GoldenCase, goldenPath } from "./golden.js";
import { algorithms } from "./kernels.js";

/** Writes the U-Net of a golden folder for one case: its taps by long id, and what to feed. */
async function written(golden: Golden, one: GoldenCase) {
  const folder = await openModel(goldenPath(golden.folder));
  const config = readUnetConfig(await folder.json("config.json"));
  const w = Scope.of(await folder.checkpoint(""));
  const sample = golden.input(one, "sample");
  const text = golden.input(one, "encoder_hidden_states");
  const timesteps = Array.from(golden.input(one, "timesteps").data, Number);
  const feeds: Record<string, Tensor> = {
    sample,
    text,
    timestep: sinusoids(timesteps, config.down[0]!.channels, config),
  };
  if (config.additionEmbed) {
    feeds.textEmbeds = golden.input(one, "text_embeds");
    const ids = golden.input(one, "time_ids");
    feeds.timeIds = sinusoids([...ids.toFloat32()], config.additionTimeEmbedDim, config).reshape([
      ids.dims[0]!,
      -1,
    ]);
  }
  const value = (name: string) => feeds[name] && input(name, feeds[name].dims);
  unet(w, config, {
    sample: value("sample")!,
    timestep: value("timestep")!,
    encoderHiddenStates: value("text")!,
    textEmbeds: value("textEmbeds"),
    timeIds: value("timeIds"),
  });
  return { taps: new Map(listTaps(w.taps, []).map((tap) => [tap.id, tap.value])), feeds };
}

describe.each(["unet-sd21", "unet-sd15", "unet-sdxl"])("%s", (folder) => {
  const golden = new Golden(folder);
  const engines = new Map<string, Promise<Engine>>();
  afterAll(async () => {
    for (const engine of engines.values()) await (await engine).dispose();
  });

  describe.each(algorithms)("with $name", ({ name, options, times }) => {
    it.each(golden.cases)("$name: every tap equals diffusers'", async (one) => {
      const { taps, feeds } = await written(golden, one);
      const outputs = Object.fromEntries(Object.keys(one.outputs).map((id) => [id, taps.get(id)!]));
      for (const [id, value] of Object.entries(outputs)) expect(value, `tap ${id}`).toBeDefined();
      if (!engines.has(name)) engines.set(name, Engine.open({ device: "cpu", ...options }));
      const program = (await engines.get(name)!).compile(outputs);
      const results = await program.run(feeds);
      await program.release();
      for (const [id, entry] of Object.entries(one.outputs)) {
        expectClose(results[id]!, golden.output(one, id), entry.atol!, id, times);
      }
    });
  });
});
