/** @file Values checked by a schema, with errors that say where each mistake is and what is allowed there. */

import type { z } from "zod";
import { misuse } from "./errors.js";

type Issue = z.core.$ZodIssue;

const article = (noun: string) => (/^[aeiou]/.test(noun) ? `an ${noun}` : `a ${noun}`);

const nouns: Record<string, string> = { int: "whole number", record: "object", tuple: "list", array: "list" };

/** What is wrong, without the path: "expected a number", "expected one of train, data". */
function reason(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return `expected ${article(nouns[issue.expected] ?? issue.expected)}`;
    case "invalid_value":
      return `expected ${issue.values.length > 1 ? "one of " : ""}${issue.values.join(", ")}`;
    case "invalid_union": {
      if ("options" in issue && Array.isArray(issue.options))
        return `expected one of ${issue.options.join(", ")}`;
      const reasons = new Set(issue.errors.map((branch) => branch.map(reason).join(" and ")));
      return reasons.size > 0 ? [...reasons].join(" or ") : "fits none of the allowed forms";
    }
    case "unrecognized_keys":
      return `${issue.keys.map((key) => `"${key}"`).join(", ")} ${issue.keys.length > 1 ? "are" : "is"} not known here`;
    case "too_small":
      return `must be ${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}`;
    case "too_big":
      return `must be ${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}`;
    default:
      return issue.message;
  }
}

/** An issue of several allowed forms as those of the form that was meant: the only one that is right at its root. */
function meant(issue: Issue): Issue[] {
  if (issue.code !== "invalid_union") return [issue];
  const inner = issue.errors.filter((branch) => branch.every(({ path }) => path.length > 0));
  if (inner.length !== 1) return [issue];
  return inner[0]!.flatMap((one) => meant({ ...one, path: [...issue.path, ...one.path] }));
}

/** "stages[0].optimizer.lr" */
export function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((part, i) => (typeof part === "number" ? `[${part}]` : `${i > 0 ? "." : ""}${String(part)}`))
    .join("");
}

/**
 * Checks a value; errors name the path of each thing that is wrong.
 * @param code of the error
 * @param at where the value stands in the file
 * @throws misuse with this code
 */
export function checked<T>(
  code: string,
  schema: z.ZodType<T>,
  value: unknown,
  at: readonly PropertyKey[] = [],
): T {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const lines = error.issues.flatMap(meant).map((issue) => {
    const path = formatPath([...at, ...issue.path]);
    return path === "" ? reason(issue) : `${path}: ${reason(issue)}`;
  });
  throw misuse(code, lines.join("; "));
}
