/**
 * @file Torch's pickles, read without running anything: a pickle is a program for a small stack machine that may call
 * any Python function; this machine knows a fixed list of names, makes plain data of them, and refuses the rest.
 */

import { DiffsightError, type DType, failure } from "../tensor/index.js";

/** A run of numbers in the checkpoint that tensors are views of. */
export class TorchStorage {
  constructor(
    readonly dtype: DType,
    readonly key: string,
    /** In elements. */
    readonly size: number,
  ) {}
}

/** A view of a storage; offset and strides in elements. Every element lies in the storage. */
export class TorchTensor {
  constructor(
    readonly storage: TorchStorage,
    readonly offset: number,
    readonly dims: number[],
    readonly strides: number[],
  ) {}
}

/** A name that a pickle imports, one of the known ones. */
class Global {
  constructor(readonly name: string) {}
}

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Global
  | TorchStorage
  | TorchTensor
  | PickleValue[]
  | Map<PickleValue, PickleValue>;

export interface Pickle {
  value: PickleValue;
  storages: Map<string, TorchStorage>;
  end: number;
}

/** Raised when a pickle goes on past the bytes at hand. */
export class PickleEnded extends DiffsightError {
  constructor() {
    super("FILE_CORRUPT", "The pickle ends in the middle.");
  }
}

const storageTypes: Record<string, DType> = {
  FloatStorage: "f32",
  DoubleStorage: "f64",
  HalfStorage: "f16",
  BFloat16Storage: "bf16",
  LongStorage: "i64",
  IntStorage: "i32",
  ShortStorage: "i16",
  CharStorage: "i8",
  ByteStorage: "u8",
  BoolStorage: "bool",
};

/** What the known functions make of their arguments; `charge` counts the objects they make. */
const functions: Record<string, (args: PickleValue[], charge: (objects: number) => void) => PickleValue> = {
  "collections.OrderedDict": orderedDict,
  "torch.Size": ([sizes]) => list(sizes),
  "torch._utils._rebuild_tensor": rebuildTensor,
  "torch._utils._rebuild_tensor_v2": rebuildTensor,
  "torch._utils._rebuild_parameter": ([tensor]) => tensor ?? null,
};

const knownGlobals = new Set([
  ...Object.keys(functions),
  ...Object.keys(storageTypes).map((type) => `torch.${type}`),
]);

/** Objects that one pickle may make; real ones make about twenty a tensor. Without it 16 MB could ask for gigabytes. */
const maxObjects = 2_000_000;

const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Runs the pickle that begins at `start`.
 * @returns its value, the storages that it names, and the position after it
 * @throws PICKLE_REFUSED for a name or instruction that is not known; FILE_CORRUPT (PickleEnded when more bytes are needed)
 * @see https://docs.python.org/3/library/pickletools.html
 */
export function readPickle(bytes: Uint8Array, start = 0): Pickle {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const memo = new Map<number, PickleValue>();
  const storages = new Map<string, TorchStorage>();
  const marks: number[] = [];
  const stack: PickleValue[] = [];
  let objects = 0;
  let at = start;

  const advance = (size: number): number => {
    if (size > bytes.length - at) throw new PickleEnded();
    at += size;
    return at - size;
  };
  const byte = (): number => view.getUint8(advance(1));
  const uint16 = (): number => view.getUint16(advance(2), true);
  const uint32 = (): number => view.getUint32(advance(4), true);
  const uint64 = (): number => Number(view.getBigUint64(advance(8), true));
  const raw = (size: number): Uint8Array => {
    const from = advance(size);
    return bytes.subarray(from, from + size);
  };
  const line = (): string => {
    const end = bytes.indexOf(10, at);
    if (end === -1) throw new PickleEnded();
    return string(raw(end + 1 - at).subarray(0, -1));
  };
  const charge = (count: number): void => {
    objects += count;
    if (objects > maxObjects) throw failure("PICKLE_REFUSED", `The pickle makes over ${maxObjects} objects.`);
  };
  const made = <T extends PickleValue>(value: T): T => {
    charge(1);
    return value;
  };
  const push = (value: PickleValue): void => void stack.push(value);
  const floor = (): number => marks.at(-1) ?? 0;
  const pop = (): PickleValue => {
    if (stack.length <= floor()) throw corrupt("its stack runs empty");
    return stack.pop()!;
  };
  const top = (): PickleValue => {
    if (stack.length <= floor()) throw corrupt("its stack runs empty");
    return stack.at(-1)!;
  };
  const sinceMark = (): PickleValue[] => {
    const mark = marks.pop();
    if (mark === undefined) throw corrupt("a mark is missing");
    return stack.splice(mark);
  };
  const last = (count: number): PickleValue[] => {
    if (stack.length - count < floor()) throw corrupt("its stack runs empty");
    return stack.splice(stack.length - count);
  };
  const recall = (index: number): void => {
    if (!memo.has(index)) throw corrupt(`it has no object ${index}`);
    push(memo.get(index)!);
  };
  const remember = (index: number): void => void memo.set(index, made(top()));
  const setItems = (items: PickleValue[]): void => {
    const target = top();
    if (!(target instanceof Map) || items.length % 2 === 1)
      throw corrupt("it sets items of what is no dictionary");
    for (let i = 0; i < items.length; i += 2) target.set(items[i]!, made(items[i + 1]!));
  };
  const append = (items: PickleValue[]): void => {
    const target = list(top());
    for (const item of items) target.push(item);
  };
  const long = (size: number): number | bigint => {
    if (size > 255) throw failure("PICKLE_REFUSED", `The pickle has a whole number of ${size} bytes.`);
    let value = 0n;
    for (const part of raw(size).slice().reverse()) value = (value << 8n) | BigInt(part);
    value = BigInt.asIntN(size * 8, value);
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  };
  const reduce = (): void => {
    const args = list(pop());
    const callable = pop();
    const call = callable instanceof Global ? functions[callable.name] : undefined;
    if (!call) throw corrupt("it calls what is no function");
    push(made(call(args, charge)));
  };
  const persistent = (): void => {
    const named = storageOf(list(pop()));
    const known = storages.get(named.key) ?? made(named);
    if (known.dtype !== named.dtype || known.size !== named.size) {
      throw corrupt(`the storage ${JSON.stringify(named.key)} is described in two ways`);
    }
    storages.set(named.key, known);
    push(known);
  };

  for (;;) {
    const opcode = byte();
    // biome-ignore format: one line an instruction, as in Python's pickletools
    switch (opcode) {
      case 0x80: protocol(byte()); break;                     // PROTO
      case 0x95: advance(8); break;                           // FRAME
      case 0x2e: {                                            // STOP
        const value = pop();
        if (stack.length > 0) throw corrupt("it leaves several values");
        return { value, storages, end: at };
      }
      case 0x28: charge(1); marks.push(stack.length); break;    // MARK
      case 0x30: pop(); break;                                // POP
      case 0x31: sinceMark(); break;                          // POP_MARK
      case 0x32: push(top()); break;                          // DUP
      case 0x4e: push(null); break;                           // NONE
      case 0x88: push(true); break;                           // NEWTRUE
      case 0x89: push(false); break;                          // NEWFALSE
      case 0x4b: push(byte()); break;                         // BININT1
      case 0x4d: push(uint16()); break;                       // BININT2
      case 0x4a: push(uint32() | 0); break;                   // BININT
      case 0x8a: push(made(long(byte()))); break;             // LONG1
      case 0x8b: push(made(long(uint32()))); break;           // LONG4
      case 0x47: push(view.getFloat64(advance(8))); break;    // BINFLOAT
      case 0x8c: push(made(string(raw(byte())))); break;      // SHORT_BINUNICODE
      case 0x58: push(made(string(raw(uint32())))); break;    // BINUNICODE
      case 0x8d: push(made(string(raw(uint64())))); break;    // BINUNICODE8
      case 0x55: push(made(string(raw(byte())))); break;      // SHORT_BINSTRING, Python 2's
      case 0x54: push(made(string(raw(uint32())))); break;    // BINSTRING
      case 0x43: push(made(raw(byte()))); break;              // SHORT_BINBYTES
      case 0x42: push(made(raw(uint32()))); break;            // BINBYTES
      case 0x8e: push(made(raw(uint64()))); break;            // BINBYTES8
      case 0x5d: push(made([])); break;                       // EMPTY_LIST
      case 0x7d: push(made(new Map())); break;                // EMPTY_DICT
      case 0x29: push(made([])); break;                       // EMPTY_TUPLE
      case 0x74: push(made(sinceMark())); break;              // TUPLE
      case 0x85: push(made(last(1))); break;                  // TUPLE1
      case 0x86: push(made(last(2))); break;                  // TUPLE2
      case 0x87: push(made(last(3))); break;                  // TUPLE3
      case 0x61: append([pop()]); break;                      // APPEND
      case 0x65: append(sinceMark()); break;                  // APPENDS
      case 0x73: setItems(last(2)); break;                    // SETITEM
      case 0x75: setItems(sinceMark()); break;                // SETITEMS
      case 0x68: recall(byte()); break;                       // BINGET
      case 0x6a: recall(uint32()); break;                     // LONG_BINGET
      case 0x71: remember(byte()); break;                     // BINPUT
      case 0x72: remember(uint32()); break;                   // LONG_BINPUT
      case 0x94: remember(memo.size); break;                  // MEMOIZE
      case 0x63: push(made(global(line(), line()))); break;   // GLOBAL
      case 0x93: push(made(stackGlobal(last(2)))); break;     // STACK_GLOBAL
      case 0x52: reduce(); break;                             // REDUCE
      case 0x51: persistent(); break;                         // BINPERSID
      // BUILD sets attributes (a state dict carries `_metadata`): of no use here.
      case 0x62: pop(); top(); break;
      default: {
        const hex = `0x${opcode.toString(16).padStart(2, "0")}`;
        throw failure("PICKLE_REFUSED", `The pickle has the instruction ${hex} at byte ${at - 1}, which is not known.`);
      }
    }
  }
}

function protocol(version: number): void {
  if (version < 2 || version > 5)
    throw failure("PICKLE_REFUSED", `The pickle's protocol is ${version}; 2 to 5 are known.`);
}

function global(module: string, name: string): Global {
  const path = `${module}.${name}`;
  if (!knownGlobals.has(path)) {
    const types = Object.values(storageTypes).join(", ");
    throw failure(
      "PICKLE_REFUSED",
      `The pickle asks for ${JSON.stringify(path.slice(0, 200))}. Nothing is run: it may hold dictionaries, lists, plain values and tensors of ${types}.`,
    );
  }
  return new Global(path);
}

function stackGlobal([module, name]: PickleValue[]): Global {
  if (typeof module !== "string" || typeof name !== "string") throw corrupt("it imports what is no name");
  return global(module, name);
}

/** ("storage", type, key, device, size), in the old format with a view of the storage, which nobody writes any more. */
function storageOf([tag, type, key, , size, part = null]: PickleValue[]): TorchStorage {
  const dtype = type instanceof Global ? storageTypes[type.name.replace("torch.", "")] : undefined;
  if (tag !== "storage" || dtype === undefined || typeof key !== "string" || !isSize(size)) {
    throw corrupt("it has a storage that is not described as torch does it");
  }
  if (part !== null)
    throw failure("PICKLE_REFUSED", `The storage ${JSON.stringify(key)} is a part of another one.`);
  return new TorchStorage(dtype, key, size);
}

function rebuildTensor([storage, offset, dims, strides]: PickleValue[]): TorchTensor {
  const sizes = list(dims);
  const steps = list(strides);
  const described = storage instanceof TorchStorage && isSize(offset) && steps.length === sizes.length;
  if (!described || sizes.length > 64 || !sizes.every(isSize) || !steps.every(isSize)) {
    throw corrupt("it has a tensor that is not described as torch does it");
  }
  const count = sizes.reduce((product, size) => product * size, 1);
  const last = sizes.reduce((sum, size, axis) => sum + (size - 1) * steps[axis]!, offset);
  if (!isSize(count) || (count > 0 && last >= storage.size)) {
    const shape = `[${sizes.slice(0, 8)}] with strides [${steps.slice(0, 8)}] from ${offset}`;
    throw corrupt(`a tensor ${shape} does not lie within its storage of ${storage.size}`);
  }
  return new TorchTensor(storage, offset, [...sizes], [...steps]);
}

function orderedDict([items = []]: PickleValue[], charge: (objects: number) => void): PickleValue {
  charge(list(items).length);
  return new Map(
    list(items).map((item): [PickleValue, PickleValue] => {
      const [key = null, value = null] = list(item);
      return [key, value];
    }),
  );
}

function isSize(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function list(value: PickleValue | undefined): PickleValue[] {
  if (!Array.isArray(value)) throw corrupt("a list is missing");
  return value;
}

function string(bytes: Uint8Array): string {
  try {
    return text.decode(bytes);
  } catch (cause) {
    throw corrupt("its text is not UTF-8", cause);
  }
}

function corrupt(what: string, cause?: unknown): DiffsightError {
  return failure("FILE_CORRUPT", `The pickle is broken: ${what}.`, cause);
}
