/**
 * @file The process in which sessions live. A run of onnxruntime-node blocks the thread that calls it and cannot be
 * stopped; ending a thread in the middle of one brings the whole process down, so it is a process that is ended.
 */

import type { Feeds, KeptRun, SessionRequest } from "./host.js";
import { createSession, dropRows, releaseSession, runSession } from "./sessions.js";

export type Call =
  | { id: number; kind: "create"; request: SessionRequest }
  | { id: number; kind: "run"; session: number; feeds: Feeds; kept: KeptRun | undefined }
  | { id: number; kind: "drop"; kept: number }
  | { id: number; kind: "release"; session: number };

export type Reply = { id: number; result: unknown } | { id: number; error: string };

async function handle(call: Call): Promise<unknown> {
  if (call.kind === "create") return createSession(call.request);
  if (call.kind === "release") return releaseSession(call.session);
  if (call.kind === "drop") return dropRows(call.kept);
  return runSession(call.session, call.feeds, {}, call.kept);
}

process.on("message", (call: Call) => {
  const reply = (message: Reply) => process.send!(message);
  handle(call).then(
    (result) => reply({ id: call.id, result }),
    (error: unknown) => reply({ id: call.id, error: String((error as Error)?.message ?? error) }),
  );
});

// A terminal's Ctrl-C reaches all its processes; the one that asks decides what becomes of the work.
process.on("SIGINT", () => {});

// Whoever asked is gone. The runtime's own end is skipped: nothing is left to be saved.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
