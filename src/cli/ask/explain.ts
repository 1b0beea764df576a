/** @file Where diffusion looked for an answer: overlays, the raw numbers, and one page. */

import { join } from "node:path";
import { encodeSafetensors, type Tensor } from "../../tensor/index.js";
import type { DiffusionLook } from "../../vlm/index.js";
import { fileName } from "../attend.js";
import type { Shell } from "../shell.js";
import { version } from "../version.js";

export interface Explained {
  /** As the command was given them. */
  images: readonly string[];
  question: string;
  answer: string;
  /** Of each picture. */
  looks: readonly (readonly DiffusionLook[])[];
}

/** Pixels of the longer side of a picture. */
const side = 240;

/** One map over its picture, with the names that it goes by. */
interface Shown {
  image: string;
  encoder: string;
  /** The word, or none of what the whole text changed. */
  word: string | undefined;
  tensor: string;
  picture: string;
}

/** Writes maps.safetensors, a PNG for each map, index.json and index.html. */
export async function writeExplanation(
  folder: string,
  { images, question, answer, looks }: Explained,
  shell: Shell,
): Promise<void> {
  const { encodePng, overlayPicture } = await import("../../image/index.js");
  const tensors = new Map<string, Tensor>();
  const maps: Shown[] = [];
  const pictures = new Map<string, Uint8Array>();
  for (const [i, those] of looks.entries()) {
    // One picture needs no number.
    const place = images.length > 1 ? `image${i}/` : "";
    for (const { encoder, image, delta, words } of those) {
      const add = (name: string, file: string, map: Tensor, word?: string) => {
        const [tensor, picture] = [`${place}${encoder}/${name}`, `${place}${encoder}/${file}.png`];
        tensors.set(tensor, map);
        maps.push({ image: images[i]!, encoder, word, tensor, picture });
        const title = word ?? "what the text changed";
        pictures.set(picture, encodePng(overlayPicture(image, map, { title, side })));
      };
      add("delta", "delta", delta);
      for (const [n, word] of words.words.entries())
        add(`words/${n}-${word.text}`, `${n}-${fileName(word.text)}`, words.of(word), word.text);
    }
  }
  const told = looks[0]!.map(({ encoder, prompt, guidance }) => ({ encoder, prompt, guidance }));
  const index = { version, question, answer, images, told, maps: "maps.safetensors", pictures: maps };
  const metadata = { diffsight: JSON.stringify({ version, question, images, told }) };
  await shell.write(join(folder, "maps.safetensors"), encodeSafetensors(tensors, metadata));
  for (const [file, png] of pictures) await shell.write(join(folder, file), png);
  await shell.write(join(folder, "index.json"), `${JSON.stringify(index, null, 2)}\n`);
  await shell.write(join(folder, "index.html"), await pageOf(index, pictures));
}

async function pageOf(
  {
    question,
    answer,
    images,
    told,
    pictures: maps,
  }: {
    question: string;
    answer: string;
    images: readonly string[];
    told: readonly { encoder: string; prompt: string; guidance: number }[];
    pictures: readonly Shown[];
  },
  pictures: ReadonlyMap<string, Uint8Array>,
): Promise<string> {
  const { escapeHtml, reportPage } = await import("../../evaluation/index.js");
  const figure = ({ picture, word }: Shown) => {
    const data = Buffer.from(pictures.get(picture)!).toString("base64");
    const alt = word === undefined ? "What the text changed" : `Where “${word}” looks`;
    return `<figure style="margin:0"><img alt="${escapeHtml(alt)}" src="data:image/png;base64,${data}"></figure>`;
  };
  const row = (some: readonly Shown[]) =>
    `<div style="display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1rem;margin:1rem 0">${some.map(figure).join("")}</div>`;
  const sections = images.flatMap((image, i) =>
    told.map(({ encoder, prompt, guidance }) => {
      const place = images.length > 1 ? `image${i}/` : "";
      const own = maps.filter(({ tensor }) => tensor.startsWith(`${place}${encoder}/`));
      return {
        title: images.length > 1 ? `${encoder}: ${image}` : encoder,
        body: `<p>Told “${escapeHtml(prompt)}” at guidance ${guidance}. First how much the text changed the features at each place, |f<sub>c</sub> − f<sub>u</sub>|; then where each of its words looks.</p>
${row(own)}
<p class="small">Each map from its least to its most. A map shows where a network looked, not why it answered so.</p>`,
      };
    }),
  );
  const lead = `<strong>${escapeHtml(question)}</strong> ${escapeHtml(answer)}`;
  return reportPage("Where diffusion looked", lead, sections);
}
