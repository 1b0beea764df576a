/** @file Learns byte pairs from a few words (Sennrich et al. 2016, algorithm 1). */

/**
 * Joins the most frequent pair of neighbours everywhere, again and again, until every word is one symbol.
 * @param words each as the symbols it begins with, which have no spaces
 */
export function learnMerges(words: readonly (readonly string[])[]): [left: string, right: string][] {
  let spelt = words;
  const merges: [string, string][] = [];
  for (;;) {
    const counts = new Map<string, number>();
    for (const symbols of spelt) {
      for (let i = 1; i < symbols.length; i++) {
        const pair = `${symbols[i - 1]} ${symbols[i]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    // Of equally frequent pairs the first by name, so that the result depends on nothing else.
    const [best] = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    if (!best) return merges;
    const [left, right] = best[0].split(" ") as [string, string];
    merges.push([left, right]);
    spelt = spelt.map((symbols) => joined(symbols, left, right));
  }
}

/** Every `left` before a `right` becomes one symbol with it, from the left on. */
function joined(symbols: readonly string[], left: string, right: string): string[] {
  const result: string[] = [];
  for (let i = 0; i < symbols.length; i++) {
    const pair = symbols[i] === left && symbols[i + 1] === right;
    result.push(pair ? left + right : symbols[i]!);
    if (pair) i++;
  }
  return result;
}
