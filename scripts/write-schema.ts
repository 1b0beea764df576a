/** @file Writes docs/diffsight.schema.json: the form of a vision-language model's description (format it with biome). */

import { descriptionJsonSchema } from "../src/vlm/index.js";
import { writeFileAtomic } from "../src/weights/index.js";

await writeFileAtomic("docs/diffsight.schema.json", `${JSON.stringify(descriptionJsonSchema(), null, 2)}\n`);
