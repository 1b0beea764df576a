/** @file Where a model's files come from: a folder on disk, the hub's cache, a web address. */

/** A file that is read in parts. */
export interface WeightFile {
  /** The real path (symlinks resolved), or the URL in a browser. */
  readonly location: string;
  /** Bytes. */
  readonly size: number;
  /** @throws FILE_CORRUPT when the file ends before offset + length */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** A model's folder. Paths are relative and use "/". */
export interface FileTree {
  /** The id or path that it was opened with. */
  readonly source: string;
  has(path: string): Promise<boolean>;
  /** Opens a file, and downloads it first where need be. */
  open(path: string): Promise<WeightFile>;
  /** Opens a file for a look at some of its bytes, without downloading the rest. */
  peek(path: string): Promise<WeightFile>;
  /** All files, or undefined where that cannot be known (a plain web server). */
  list(): Promise<string[] | undefined>;
  /** False when files may be missing because they were never downloaded, and may not be now. */
  readonly complete: boolean;
}

/** What a path or id turned out to be. */
export type Source = { kind: "file"; file: WeightFile } | { kind: "folder"; tree: FileTree };

/** What opening a model reports; named as in transformers.js, so that its progress bars fit. */
export type ProgressEvent =
  | { status: "initiate" | "download" | "done"; name: string; file: string }
  /** `progress` in percent; `loaded` and `total` in bytes. */
  | { status: "progress"; name: string; file: string; progress: number; loaded: number; total: number }
  /** Something was chosen that the caller did not name, such as a variant. */
  | { status: "notice"; name: string; message: string };

export interface SourceOptions {
  /** Branch, tag or commit of an id. Default "main". */
  revision?: string | undefined;
  /** Folder of the hub's cache. Default `HF_HUB_CACHE`, else `HF_HOME`/hub, else ~/.cache/huggingface/hub. */
  cacheDir?: string | undefined;
  /** Never use the network; `HF_HUB_OFFLINE` asks for the same. */
  localFilesOnly?: boolean | undefined;
  /** For gated and private models. Default `HF_TOKEN`, else the file that `hf auth login` writes. */
  token?: string | undefined;
  onProgress?: ((event: ProgressEvent) => void) | undefined;
  signal?: AbortSignal | undefined;
}
