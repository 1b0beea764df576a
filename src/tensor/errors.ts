/** @file Errors with a stable code. A command exits 2 when its caller misused it, 1 when something failed. */

export interface DiffsightErrorOptions extends ErrorOptions {
  /** True when the request itself was wrong (flags, tap names, ranges, sizes): exit status 2. */
  misuse?: boolean;
}

/** Every error that diffsight raises on purpose: a sentence with the offending value and the allowed ones. */
export class DiffsightError extends Error {
  override readonly name: string = "DiffsightError";
  readonly misuse: boolean;

  constructor(
    /** Stable, for programs: "UNKNOWN_TAP", "FILE_CORRUPT", ... */
    readonly code: string,
    message: string,
    { misuse = false, ...options }: DiffsightErrorOptions = {},
  ) {
    super(message, options);
    this.misuse = misuse;
  }
}

/** The request is wrong: the caller can mend it. Exit status 2. */
export function misuse(code: string, message: string): DiffsightError {
  return new DiffsightError(code, message, { misuse: true });
}

/** Something in the world failed: a file, the network, memory, a disk. Exit status 1. */
export function failure(code: string, message: string, cause?: unknown): DiffsightError {
  return new DiffsightError(code, message, cause === undefined ? {} : { cause });
}

/** Raised when an `AbortSignal` ended the work. */
export function aborted(): DiffsightError {
  return failure("ABORTED", "The work was cancelled.");
}
