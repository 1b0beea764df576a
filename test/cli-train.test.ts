/** @file `diffsight train` as a user runs it: plan, training, Ctrl-C, going on, and what is refused. */

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { run, start, temporaryFolder } from "./cli.js";

const folder = temporaryFolder();
const out = path.join(folder, "out");
const file = path.join(folder, "recipe.json");

const blocks = (kind: string) => Array<string>(2).fill(kind);

const recipe = {
  name: "small",
  stages: [
    { name: "scenes", kind: "data", producer: "scenes", config: { count: 24, size: 32 }, shard: 12 },
    {
      name: "vae",
      kind: "train",
      task: "autoencoder",
      config: {
        network: {
          sample_size: 32,
          block_out_channels: [8, 8],
          down_block_types: blocks("DownEncoderBlock2D"),
          up_block_types: blocks("UpDecoderBlock2D"),
          norm_num_groups: 1,
        },
        crop: 16,
      },
      data: { train: "scenes", validation: "scenes" },
      steps: 120,
      batch: 4,
      parts: 2,
      optimizer: { lr: 0.001, clip: 1 },
      validation: { every: 40, batches: 2 },
    },
    {
      name: "latents",
      kind: "data",
      producer: "latents",
      data: { pictures: "scenes" },
      models: { vae: "vae" },
    },
    { name: "small-vae", kind: "export", from: ["vae"], layout: "pipeline", title: "A small autoencoder" },
  ],
};
writeFileSync(file, JSON.stringify(recipe));

const train = (...flags: string[]) => ["train", file, "--out", out, ...flags];

describe("diffsight train", () => {
  it("plans without doing anything", async () => {
    const { status, stdout } = await run(train("--plan"));
    expect(status).toBe(0);
    expect(stdout).toMatch(/^stage +state +work +time left +memory +disk/);
    expect(stdout).toMatch(/vae +to do +120 steps of 4 \(autoencoder\) .* GFLOP\/s a thread/);
    expect(stdout).toMatch(/In all at least .* of memory, .* of disk\.\n$/);
    expect(existsSync(out)).toBe(false);
    const json = JSON.parse((await run(train("--plan", "--json"))).stdout);
    expect(json.stages.map(({ status }: { status: string }) => status)).toEqual(Array(4).fill("to do"));
  });

  it("saves at Ctrl-C, goes on when called again, and does nothing when all is done", async () => {
    const { child, done } = start(train("--threads", "1"));
    child.stderr!.on("data", (text: Buffer) => /vae.*step/.test(text.toString()) && child.kill("SIGINT"));
    const stopped = await done;
    expect(stopped.signal).toBe("SIGINT");
    expect(stopped.stderr).toContain("Everything is saved: call it again to go on.");
    const [key] = readdirSync(path.join(out, "vae"));
    expect(readdirSync(path.join(out, "vae", key!, "checkpoints"))).toHaveLength(2);
    const half = JSON.parse((await run(["report", out, "--json"])).stdout);
    expect(half.stages.map(({ status }: { status: string }) => status)).toEqual([
      "done",
      "begun",
      "to do",
      "to do",
    ]);
    expect(half.stages[1]).toMatchObject({ wanted: 120, step: expect.any(Number) });

    const finished = await run(train("--json"));
    expect(finished.status).toBe(0);
    expect(finished.stderr).toMatch(/scenes \(1 of 4\): done already/);
    expect(finished.stderr).toMatch(/^vae: going on after step \d+/m);
    const { stages } = JSON.parse(finished.stdout);
    expect(stages[1].result).toMatchObject({ steps: 120, validation: { metrics: {} } });
    const model = path.join(out, "models", "small-vae");
    expect(JSON.parse(readFileSync(path.join(model, "model_index.json"), "utf8")).vae).toEqual([
      "diffusers",
      "AutoencoderKL",
    ]);
    expect(
      JSON.parse(readFileSync(path.join(model, "vae", "config.json"), "utf8")).scaling_factor,
    ).toBeGreaterThan(0);

    writeFileSync(path.join(out, "found & told.html"), "");
    const reported = await run(["report", out]);
    expect(reported.stdout).toBe(`${path.join(out, "report.html")}\n`);
    const page = readFileSync(path.join(out, "report.html"), "utf8");
    expect(page).toContain("All stages are done.");
    expect(page).toContain("step 120 of 120");
    expect(page).toContain("data:image/svg+xml;base64,");
    expect(page).toContain("A small autoencoder");
    expect(page).toContain('<a href="found%20&amp;%20told.html">');
    expect(page).not.toContain("report.html");

    const again = await run(train());
    expect(again.stderr.match(/done already/g)).toHaveLength(4);
    expect(again.stdout).toMatch(/vae: loss .*psnr/);
  });

  it("says when a disk is full, loses nothing, and goes on when there is room", async () => {
    const place = path.join(folder, "full");
    const flags = ["train", file, "--out", place, "--threads", "1"];
    const full = await run(flags, { fileLimit: 64 });
    expect(full.status).toBe(1);
    expect(full.stderr).toMatch(/^diffsight: .*(full|no file so large|space)/m);
    expect(full.stderr).not.toMatch(/\n\s+at /);
    const [key] = readdirSync(path.join(place, "vae"));
    const checkpoints = path.join(place, "vae", key!, "checkpoints");
    expect(existsSync(checkpoints) ? readdirSync(checkpoints) : []).toEqual([]);

    const finished = await run(flags);
    expect(finished.status).toBe(0);
    expect(finished.stderr).toMatch(/scenes \(1 of 4\): done already/);
    const weights = (at: string) =>
      readFileSync(path.join(at, "models/small-vae/vae/diffusion_pytorch_model.safetensors"));
    expect(weights(place).equals(weights(out))).toBe(true);
  });

  it("reports no folder that holds no run", async () => {
    const none = await run(["report", path.join(folder, "none")]);
    expect(none).toMatchObject({ status: 1, stdout: "" });
    expect(none.stderr).toMatch(/^diffsight: .* holds no run: .*recipe\.json cannot be read\.$/m);
  });

  it("refuses what is wrong, with the path and status 2", async () => {
    const wrong = path.join(folder, "wrong.json");
    const [scenes, vae] = recipe.stages;
    writeFileSync(
      wrong,
      JSON.stringify({ ...recipe, stages: [scenes, { ...vae, optimizer: { lr: "1e-3" } }] }),
    );
    const refused = await run(["train", wrong]);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toBe("diffsight: stages[1].optimizer.lr: expected a number\n");
    const missing = await run(["train", "slow"]);
    expect(missing.status).toBe(1);
    expect(missing.stderr).toMatch(/slow cannot be read: there is no such file, and no recipe of that name/);
  });
});
