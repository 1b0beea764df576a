/** @file The demo's page: what one sees, which command makes it, what the small model cannot do. */

import { colours, credits, nouns, places, vocabulary } from "../../diorama/index.js";
import { colormapTable } from "../../image/index.js";
import { version } from "../version.js";
import { style } from "./style.js";
import { changeTap, type Png, type ScoreSetting, type Tour } from "./tour.js";

/** One HTML file that needs nothing else. */
export function pageOf(tour: Tour): string {
  const sections = [
    changes(tour),
    answers(tour),
    words(tour),
    features(tour),
    scores(tour),
    generated(tour),
    speed(tour),
    next(tour),
  ];
  const links = sections.map(({ id, name }) => `<li><a href="#${id}">${name}</a></li>`).join("");
  const body = sections.map(({ id, html }) => `<section id="${id}">${html}</section>`).join("\n");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>diffsight: a tour</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<a class="skip" href="#changes">Skip to the pictures</a>
<header>
${hero(tour)}
<nav aria-label="Sections"><ul>${links}</ul></nav>
</header>
<main>
${body}
</main>
<footer>
<p>diffsight ${version}. ${escapeHtml(credits)}</p>
</footer>
</body>
</html>
`;
}

interface Section {
  id: string;
  /** In the list of links. */
  name: string;
  html: string;
}

function hero({ changes: [first], pictures, scenes, seconds, threads, parameters, size }: Tour): string {
  return `<h1>Ask, and the features change where the question points</h1>
<p class="lead">A model that paints pictures from texts knows how words and places belong together. diffsight shows it a picture <strong>and a question</strong>, and reads what it computes inside.</p>
${changeRow(first!, pictures, scenes)}
<p>Everything on this page was computed just now, in ${seconds.toFixed(0)} seconds on ${plural(threads, "thread")} of this machine, by a toy: ${(parameters / 1e6).toFixed(1)} million numbers that know ${size[0]}-pixel pictures of one small world, and its ${vocabulary.length} words.</p>`;
}

function changeRow(
  { scene, texts }: Tour["changes"][number],
  pictures: Tour["pictures"],
  scenes: Tour["scenes"],
) {
  const { full } = scenes[scene]!.captions;
  const panels = texts.map(({ text, map, share }) => {
    const caption = `<span class="asked">${escapeHtml(text)}</span><small>changes ${percent(share)} of the features</small>`;
    return figure(map, `Where “${text}” changed the features`, caption);
  });
  return `<div class="row">${figure(pictures[scene]!, full, `<span>${escapeHtml(full)}</span>`, "pixels")}${panels.join("")}</div>`;
}

function changes({ changes: [, ...others], pictures, scenes, features, scenesFolder }: Tour): Section {
  const html = `<h2>What a question changes</h2>
<p>The U-Net looks at the same noisy picture twice: without a text, and with the question. The difference of its features is the question’s own contribution, and it gathers where the question points. Guidance (<code>--guidance 4</code>) adds it four times over.</p>
${others.map((change) => changeRow(change, pictures, scenes)).join("\n")}
<p>${scale("no change", "strongest in the row")}</p>
${command(
  [
    `extract $SCENES/ball-rabbit.png --prompt "where is the ball?" --tap ${changeTap} --part unconditional,delta --ensemble ${features.draws} -o ball.safetensors`,
    "picture ball.safetensors --image $SCENES/ball-rabbit.png -o ball.png",
  ],
  scenesFolder,
)}
${note("A question about no thing in particular changes little; one about what is not there may still fall on the thing that is. And what is changed is not yet an answer: reading it takes a trained head, or a language model.")}`;
  return { id: "changes", name: "Questions", html };
}

function answers({ answers, pictures, scenes, scenesFolder }: Tour): Section {
  const told = pictures.map((picture, scene) => {
    const lines = answers
      .filter((one) => one.scene === scene)
      .map(({ question, answer, right }) => {
        const mark = right ? '<b class="yes" title="right">✓</b>' : '<b class="no" title="wrong">✗</b>';
        return `<small>${escapeHtml(question)}</small><span class="answer">${escapeHtml(answer)} ${mark}</span>`;
      });
    return figure(picture, scenes[scene]!.captions.full, lines.join(""), "pixels");
  });
  const right = answers.filter((one) => one.right).length;
  const times = answers.map(({ time }) => time).sort((a, b) => a - b);
  const [asked] = answers;
  const html = `<h2>What a language model makes of it</h2>
<p>CLIP’s features and the diffusion model’s, which is told the question, joined and read by a small language model. It was taught on questions about other scenes of this world; of these, which it has never seen, it answers ${right} of ${answers.length} rightly.</p>
<div class="row told">${told.join("")}</div>
${command(
  [
    `ask $SCENES/${scenes[asked!.scene]!.image} "${asked!.question}"`,
    `ask $SCENES/${scenes[asked!.scene]!.image} "${asked!.question}" --explain looks/`,
  ],
  scenesFolder,
)}
${note(`Half would be right by guessing. An answer took ${duration(times[Math.floor(times.length / 2)]!)} in the middle, most of it for the diffusion model, which looks anew for every question.`)}`;
  return { id: "answers", name: "Answers", html };
}

function words({ words, scenes, scenesFolder }: Tour): Section {
  const rows = words.map(({ scene, words }) => {
    const { full } = scenes[scene]!.captions;
    const maps = words.map(({ text, map }) =>
      figure(map, `Attention of “${text}”`, `<span>${escapeHtml(text)}</span>`),
    );
    return `<h3>“${escapeHtml(full)}”</h3><div class="row words">${maps.join("")}</div>`;
  });
  const html = `<h2>Where words look</h2>
<p>Cross-attention binds each word to places. Read the maps along the sentence: the text encoder reads from left to right, so a small word carries what came before it, and a thing often lights up under the words after its noun. Articles at the beginning take what is left, the background.</p>
${rows.join("\n")}
<p>${scale("each word’s least", "its most")}</p>
${command([`attend $SCENES/${scenes[words[0]!.scene]!.image} --prompt "${scenes[words[0]!.scene]!.captions.full}" -o maps/`], scenesFolder)}
${note("The model is small and was trained for hours, not months. Do not read a single map as an explanation; <code>probe linear</code> counts how often the maps of nouns hit their things.")}`;
  return { id: "words", name: "Words", html };
}

function features({ features, pictures, scenes, scenesFolder }: Tour): Section {
  const row = (images: string[]) =>
    `<div class="row many" style="--columns: ${pictures.length}">${images.join("")}</div>`;
  const shown = pictures.map((picture, i) => figure(picture, scenes[i]!.captions.full, "", "pixels"));
  const taps = features.taps.map(({ short, dims, pictures: maps }) => {
    const grids = maps.map((map, i) => figure(map, `Features of ${scenes[i]!.captions.full}`, "", "pixels"));
    return `<h3><code>${short}</code> <small>${dims.join(" × ")}</small></h3>${row(grids)}`;
  });
  const html = `<h2>What features look like</h2>
<p>Three places of the U-Net, without any text. Each cell holds a vector; its three main components over all eight pictures are drawn as red, green and blue. Equal colours mean alike features, across pictures: ground, background, and the things that stand before it.</p>
${row(shown)}
${taps.join("\n")}
${command(
  [
    `extract "$SCENES/*.png" --tap ${features.taps.map(({ short }) => short).join()} --ensemble ${features.draws} -o features/`,
    "picture features/stools.safetensors --image $SCENES/stools.png -o stools.png",
    "taps",
  ],
  scenesFolder,
)}`;
  return { id: "features", name: "Features", html };
}

function scores({ scores, pictures, scenes, scenesFolder }: Tour): Section {
  const head = `<tr><td></td>${pictures.map((picture, i) => `<th scope="col">${image(picture, scenes[i]!.captions.full, "pixels")}</th>`).join("")}</tr>`;
  const tables = scores.settings.map((setting) =>
    scoreTable(
      setting,
      head,
      scenes.map(({ captions }) => captions.full),
    ),
  );
  const html = `<h2>Which caption fits</h2>
<p>How strongly a picture’s places answer to a text’s words is a score of how well they fit. Each row is a caption; the cells say how much more or less than its mean it scores on each picture. The frame marks the right picture, the dot each picture’s best caption.</p>
${tables.join("\n")}
${command(
  [
    'score $SCENES/box.png --text "an open box in the room" --text "a closed box in the park"',
    'score "$SCENES/*.png" --text "an open box in the room" --layer U-L1-R1-B0-Cross --no-padding --json',
  ],
  scenesFolder,
)}
${note("Half of the pairs would be right by chance. The second setting was found by trying a few on these very pictures: it shows what is possible, and is no benchmark.")}`;
  return { id: "captions", name: "Captions", html };
}

function scoreTable(
  { name, flags, centred, right, pairs }: ScoreSetting,
  head: string,
  captions: readonly string[],
): string {
  const most = Math.max(...centred.flat().map(Math.abs));
  const rows = centred.map((row, caption) => {
    const cells = row.map((value, picture) => {
      const best = centred.every((other) => other[picture]! <= value);
      const marks = [value >= 0 ? "up" : "down", picture === caption && "right", best && "best"].filter(
        Boolean,
      );
      const strength = Math.round((90 * Math.abs(value)) / most);
      return `<td><span class="${marks.join(" ")}" style="--v: ${strength}">${signed(value)}</span></td>`;
    });
    return `<tr><th scope="row">${escapeHtml(captions[caption]!)}</th>${cells.join("")}</tr>`;
  });
  return `<h3>${name}${flags ? ` <small><code>${flags}</code></small>` : ""}</h3>
<div class="scroll"><table class="scores"><thead>${head}</thead><tbody>${rows.join("")}</tbody></table></div>
<p class="small">In ${right} of ${pairs} pairs of pictures the two right captions together beat the swapped ones.</p>`;
}

function generated({ generated: { steps, pictures }, scenesFolder }: Tour): Section {
  const shown = pictures.map(({ prompt, seed, picture }) =>
    figure(
      picture,
      `Generated: ${prompt}`,
      `<span>${escapeHtml(prompt)}</span><small>seed ${seed}</small>`,
      "pixels",
    ),
  );
  const html = `<h2>Pictures from texts</h2>
<p>The same network run forwards, ${steps} steps from noise. It proves that every part is there and right: the numbers are those of diffusers.</p>
<div class="row">${shown.join("")}</div>
${command([`generate "${pictures[0]!.prompt}" --steps ${steps} -o kettles.png`], scenesFolder)}
${note("Not picked: the first seed of each. Place and colour follow the text, shapes are crude, and numbers and directions do not follow.")}`;
  return { id: "pictures", name: "Pictures", html };
}

function speed({ timings, generated, threads }: Tour): Section {
  const rows: [string, number][] = [
    ["Open the model, and the first features with a question", timings.first],
    ["The next question about the same picture: one pass, shared parts remembered", timings.nextQuestion],
    ["A question about a new picture: encoding it, then two passes", timings.newPicture],
    ["Attention maps of a caption", timings.attention],
    ["Score of a caption for a picture: five passes", timings.caption],
    [`A picture from a text: ${2 * generated.steps} passes`, timings.picture],
  ];
  const lines = rows.map(([what, time]) => `<tr><td>${what}</td><td>${duration(time)}</td></tr>`);
  const html = `<h2>How long it took</h2>
<p>Measured while this page was made, on ${plural(threads, "thread")}; each once. The toy shows that nothing is done twice, not how fast a real model is.</p>
<table class="facts"><tbody>${lines.join("")}</tbody></table>`;
  return { id: "speed", name: "Speed", html };
}

function next({ scenesFolder }: Tour): Section {
  const html = `<h2>What the toy cannot do, and what to try next</h2>
<ul class="limits">
<li>It knows ${count(nouns)} things in ${count(colours)} colours and ${count(places)} places at 64 pixels, and ${vocabulary.length} words. Your own photos mean nothing to it.</li>
<li>It uses its text little at low noise, where the picture says nearly everything.</li>
</ul>
<p>A real model takes its place with one flag. Any Stable Diffusion 1.x, 2.x or XL in diffusers’ layout will do, unconverted:</p>
${command(
  [
    "models",
    'extract photo.jpg --model path/or/id --prompt "is the dog facing left?" -o photo.safetensors',
    'attend photo.jpg --model path/or/id --prompt "a dog on a red sofa" -o maps/',
    "doctor",
  ],
  scenesFolder,
)}`;
  return { id: "next", name: "Next", html };
}

const count = (kinds: object) => Object.keys(kinds).length;

// Parts

function figure(png: Png, alt: string, caption: string, className = ""): string {
  return `<figure>${image(png, alt, className)}${caption ? `<figcaption>${caption}</figcaption>` : ""}</figure>`;
}

function image(png: Png, alt: string, className = ""): string {
  const data = Buffer.from(png).toString("base64");
  const { width, height } = pngSize(png);
  const styled = className ? ` class="${className}"` : "";
  return `<img${styled} src="data:image/png;base64,${data}" alt="${escapeHtml(alt)}" width="${width}" height="${height}">`;
}

/** From the header that every PNG begins with. */
function pngSize(png: Png): { width: number; height: number } {
  const view = new DataView(png.buffer, png.byteOffset, 24);
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

function command(lines: readonly string[], scenesFolder: string): string {
  const uses = lines.some((line) => line.includes("$SCENES"));
  const all = [...(uses ? [`SCENES=${scenesFolder}`] : []), ...lines.map((line) => `npx diffsight ${line}`)];
  return `<pre><code>${escapeHtml(all.join("\n"))}</code></pre>`;
}

function note(html: string): string {
  return `<div class="note"><p>${html}</p></div>`;
}

/** The colours of the maps, from their weak end to their strong one. */
function scale(low: string, high: string): string {
  const table = colormapTable("inferno");
  const stops = Array.from({ length: 9 }, (_, i) => {
    const at = Math.round((i / 8) * 255) * 3;
    return `rgb(${table[at]} ${table[at + 1]} ${table[at + 2]})`;
  });
  return `<span class="scale">${low}<i style="background: linear-gradient(90deg, ${stops.join(", ")})"></i>${high}</span>`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}

function signed(value: number): string {
  const rounded = Math.abs(value).toFixed(2);
  return Number(rounded) === 0 ? rounded : `${value < 0 ? "−" : "+"}${rounded}`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function duration(milliseconds: number): string {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
