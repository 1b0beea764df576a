/** @file Lists and texts that may be long, as messages name them. */

/** The first of a list, and how many more there are: "a, b, and 3 more". */
export function firstOf(texts: readonly string[], most: number, separator = ", "): string {
  const rest = texts.length > most ? [`and ${texts.length - most} more`] : [];
  return [...texts.slice(0, most), ...rest].join(separator);
}

/** The beginning of a text, with an ellipsis where there is more of it. */
export function beginningOf(text: string, most = 60): string {
  return text.length > most ? `${text.slice(0, most).trimEnd()}…` : text.trimEnd();
}
