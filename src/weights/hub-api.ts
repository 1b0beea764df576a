/** @file What the Hugging Face hub answers: a model's files, and why something cannot be had. */

import { type DiffsightError, failure } from "../tensor/index.js";
import { type HttpOptions, request } from "./http.js";

/** A model on a hub. */
export interface HubModel {
  /** "https://huggingface.co" */
  endpoint: string;
  /** "org/name" */
  id: string;
  /** Branch, tag or commit. */
  revision: string;
  token?: string | undefined;
}

/** Whether a text could be an id: "name" or "org/name", as the hub allows them. */
export function isModelId(text: string): boolean {
  return (
    /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/.test(text) && !/--|\.\./.test(text) && text.length <= 96
  );
}

export function hubHeaders({ token }: HubModel): Record<string, string> {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

export function hubFileUrl({ endpoint, id }: HubModel, commit: string, path: string): string {
  return `${endpoint}/${id}/resolve/${encodeURIComponent(commit)}/${path.split("/").map(encodeURIComponent).join("/")}`;
}

/**
 * The commit that a revision stands for, and the files there.
 * @throws HUB_ACCESS, HUB_MISSING, NETWORK, ABORTED
 */
export async function listHubModel(
  model: HubModel,
  options: HttpOptions,
): Promise<{ commit: string; files: string[] }> {
  const url = `${model.endpoint}/api/models/${model.id}/revision/${encodeURIComponent(model.revision)}`;
  const response = await request(url, { ...options, headers: hubHeaders(model) });
  if (!response.ok) throw hubError(model, response);
  const answer = (await response.json().catch(() => undefined)) as
    | { sha?: unknown; siblings?: unknown }
    | undefined;
  const siblings = Array.isArray(answer?.siblings) ? (answer.siblings as { rfilename?: unknown }[]) : [];
  const files = siblings.map(({ rfilename }) => rfilename).filter((name) => typeof name === "string");
  if (typeof answer?.sha !== "string" || !/^\w+$/.test(answer.sha)) {
    throw failure("NETWORK", `${url} did not answer as a Hugging Face hub does.`);
  }
  return { commit: answer.sha, files: files.filter(isPlainPath) };
}

/** A relative path that stays inside its folder. */
export function isPlainPath(path: string): boolean {
  return (
    path !== "" &&
    !/[\\:\0]/.test(path) &&
    path.split("/").every((part) => part !== "" && part !== "." && part !== "..")
  );
}

/** An answer that is no success, as a sentence that says what to do. */
export function hubError(model: HubModel, { status, headers }: Response, path?: string): DiffsightError {
  const { endpoint, id, revision, token } = model;
  const code = headers.get("x-error-code");
  const said = headers.get("x-error-message");
  const hint = token ? "The token in use may not read it." : "Set HF_TOKEN to a token that may read it.";
  if (code === "GatedRepo" || (status === 403 && code === null)) {
    return failure("HUB_ACCESS", `${id} is gated: ask for access at ${endpoint}/${id}. ${hint}`);
  }
  if (status === 401 || status === 403) {
    return failure(
      "HUB_ACCESS",
      `${id} is no folder here; on ${endpoint} it is private, gated, or does not exist. ${hint}`,
    );
  }
  if (code === "RevisionNotFound")
    return failure("HUB_MISSING", `${id} has no revision "${revision}" on ${endpoint}.`);
  if (code === "EntryNotFound" || (status === 404 && path !== undefined)) {
    return failure("FILE_MISSING", `${id} (revision ${revision}) has no file ${path} on ${endpoint}.`);
  }
  if (status === 404)
    return failure(
      "HUB_MISSING",
      `There is no model ${id} (revision ${revision}) on ${endpoint}, and no folder of that name.`,
    );
  return failure(
    "NETWORK",
    `${endpoint} answered ${status} for ${id}${path ? `, ${path}` : ""}${said ? `: ${said}` : ""}.`,
  );
}
