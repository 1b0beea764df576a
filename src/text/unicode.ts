/** @file Unicode's forms and cases, as tokenizers want them. */

/**
 * A normal form of Unicode. Marks beyond a thousand in a row are treated apart, because ordering them takes the
 * runtime quadratic time and a hostile prompt could stop the program.
 */
export function normalForm(text: string, form: "NFC" | "NFD" | "NFKC" | "NFKD"): string {
  return text
    .split(/(\p{M}{1000})/u)
    .map((part) => part.normalize(form))
    .join("");
}

/** Lower case letter by letter: a sigma at the end of a word stays the ordinary one, as in the reference. */
export function lowerCase(text: string): string {
  return text.replaceAll("Σ", "σ").toLowerCase();
}
