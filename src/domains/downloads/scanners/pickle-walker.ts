import { isAllowedGlobal } from './pickle-globals.ts';
import type { PickleReader } from './pickle-reader.ts';
import { other, PickleStack, textValue, type Value } from './pickle-stack.ts';
import { quoted, ScanRefusal } from './refusal.ts';

type Step = (machine: PickleMachine) => void;

/** Real ones of several gigabytes have a few million. */
const opcodesMax = 50_000_000;
const protocolMax = 5;

/**
 * Follows a pickle opcode by opcode without making anything of it: keeps track of names, imports and marks alone, and
 * refuses what would import or call anything that is not on the list, and whatever it does not understand.
 */
export class PickleMachine {
  readonly reader: PickleReader;
  readonly stack = new PickleStack();
  /** Imports and calls of imports that were seen. */
  globalCount = 0;
  callCount = 0;
  readonly #onGlobal: (module: string, name: string) => void;

  constructor(reader: PickleReader, onGlobal: (module: string, name: string) => void = refuseUnlisted) {
    this.reader = reader;
    this.#onGlobal = onGlobal;
  }

  /** Up to and with the end mark. Throws ScanRefusal. */
  run(): void {
    for (let count = 0; count < opcodesMax; count += 1) {
      const code = this.reader.byte();
      if (code === stop) {
        this.stack.pop();
        return;
      }
      const step = steps.get(code);
      if (!step) throw new ScanRefusal('pickle.malformed', `The pickle has the unknown instruction ${code} at byte ${this.reader.position - 1}.`);
      step(this);
    }
    throw new ScanRefusal('scan.limits', 'The pickle has more instructions than a model needs.');
  }

  pushGlobal(module: string, name: string): void {
    this.globalCount += 1;
    this.#onGlobal(module, name);
    this.stack.push({ kind: 'global', module, name });
  }

  /** Only what was imported by a name on the list is ever called. */
  call(callable: Value): void {
    if (callable.kind !== 'global') throw new ScanRefusal('pickle.call', 'The pickle calls something that it did not import.');
    this.callCount += 1;
    this.stack.push(other);
  }

  /** A class or function that the program shares with everything else is never changed. */
  assertOwn(target: Value): void {
    if (target.kind === 'global') throw new ScanRefusal('pickle.patch', `The pickle would change ${quoted(`${target.module}.${target.name}`)} itself.`);
  }
}

export function refuseUnlisted(module: string, name: string): void {
  if (!isAllowedGlobal(module, name)) throw new ScanRefusal('pickle.global', `The pickle would import ${quoted(`${module}.${name}`)}, which is not known to be harmless.`);
}

function refuse(rule: string, message: string): Step {
  return () => {
    throw new ScanRefusal(rule, message);
  };
}

const stop = 0x2e;
const push: Step = ({ stack }) => stack.push(other);
const skipAndPush = (length: number): Step => skipSized(() => length);

function skipSized(lengthOf: (machine: PickleMachine) => number): Step {
  return (machine) => {
    machine.reader.skip(lengthOf(machine));
    machine.stack.push(other);
  };
}

const textBytesRead = 1024;

function text(lengthOf: (machine: PickleMachine) => number): Step {
  return (machine) => {
    const length = lengthOf(machine);
    if (length <= textBytesRead) machine.stack.push(textValue(machine.reader.take(length)));
    else {
      machine.reader.skip(length);
      machine.stack.push(other);
    }
  };
}

const u8 = ({ reader }: PickleMachine): number => reader.byte();
const u32 = ({ reader }: PickleMachine): number => reader.take(4).readUInt32LE();

function i32({ reader }: PickleMachine): number {
  const value = reader.take(4).readInt32LE();
  if (value < 0) throw new ScanRefusal('pickle.malformed', 'The pickle has a negative length.');
  return value;
}

function u64({ reader }: PickleMachine): number {
  const value = reader.take(8).readBigUInt64LE();
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ScanRefusal('pickle.malformed', 'The pickle has a length that no file has.');
  return Number(value);
}

/** Other readers are more lenient about numbers; what they may read in another way is refused. */
function line(pattern: RegExp): Step {
  return ({ reader, stack }) => {
    if (!pattern.test(reader.line())) throw new ScanRefusal('pickle.malformed', 'The pickle has a number that is none.');
    stack.push(other);
  };
}

function quotedText({ reader, stack }: PickleMachine): void {
  const match = /^(['"])(.*)\1$/s.exec(reader.line());
  if (!match) throw new ScanRefusal('pickle.malformed', 'The pickle has a text without its quotes.');
  const inside = match[2] ?? '';
  // An escaped text says something else than it seems to.
  stack.push(inside.includes('\\') ? other : textValue(Buffer.from(inside, 'latin1')));
}

function plainText({ reader, stack }: PickleMachine): void {
  const inside = reader.line();
  stack.push(inside.includes('\\') ? other : textValue(Buffer.from(inside, 'latin1')));
}

function memoKey({ reader }: PickleMachine): number {
  const key = reader.line();
  if (!/^\d{1,10}$/.test(key)) throw new ScanRefusal('pickle.malformed', 'The pickle has a place in its memory that is none.');
  return Number(key);
}

function stackGlobal(machine: PickleMachine): void {
  const name = machine.stack.pop();
  const module = machine.stack.pop();
  if (name.kind !== 'text' || module.kind !== 'text') throw new ScanRefusal('pickle.global', 'The pickle would import something under a name that it makes up as it goes.');
  machine.pushGlobal(module.text, name.text);
}

function instance(machine: PickleMachine): void {
  const module = machine.reader.line();
  machine.pushGlobal(module, machine.reader.line());
  const callable = machine.stack.pop();
  machine.stack.popToMark();
  machine.call(callable);
}

function object(machine: PickleMachine): void {
  const [callable = other] = machine.stack.popToMark();
  machine.call(callable);
}

function reduce(machine: PickleMachine): void {
  machine.stack.pop();
  machine.call(machine.stack.pop());
}

/** Takes so many values and puts one that is made of them. */
const combine = (count: number): Step => ({ stack }) => {
  for (let left = count; left > 0; left -= 1) stack.pop();
  stack.push(other);
};
const collect: Step = ({ stack }) => {
  stack.popToMark();
  stack.push(other);
};

/** Puts values into the one below them. */
const into = (count: number): Step => (machine) => {
  for (let left = count; left > 0; left -= 1) machine.stack.pop();
  machine.assertOwn(machine.stack.top());
};
const collectInto: Step = (machine) => {
  machine.stack.popToMark();
  machine.assertOwn(machine.stack.top());
};

function protocol({ reader }: PickleMachine): void {
  if (reader.byte() > protocolMax) throw new ScanRefusal('pickle.malformed', 'The pickle is of a protocol that is not known.');
}

const extension = refuse('pickle.extension', 'The pickle would import something by a number that only the program knows.');
const code = (letter: string): number => letter.charCodeAt(0);

const steps: ReadonlyMap<number, Step> = new Map<number, Step>([
  [code('('), ({ stack }) => stack.pushMark()],
  [code('0'), ({ stack }) => stack.drop()],
  [code('1'), ({ stack }) => void stack.popToMark()],
  [code('2'), ({ stack }) => stack.push(stack.top())],
  [code('F'), line(/^-?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf|nan)$/i)],
  [code('I'), line(/^-?\d{1,40}$/)],
  [code('L'), line(/^-?\d{1,4000}L?$/)],
  [code('J'), skipAndPush(4)],
  [code('K'), skipAndPush(1)],
  [code('M'), skipAndPush(2)],
  [code('N'), push],
  [code('G'), skipAndPush(8)],
  [code('P'), refuse('pickle.persistent_id', 'The pickle refers to something outside in a way that no model file uses.')],
  [code('Q'), combine(1)],
  [code('R'), reduce],
  [code('S'), quotedText],
  [code('T'), text(i32)],
  [code('U'), text(u8)],
  [code('V'), plainText],
  [code('X'), text(u32)],
  [code('B'), skipSized(u32)],
  [code('C'), skipSized(u8)],
  [code('a'), into(1)],
  [code('b'), into(1)],
  [code('c'), (machine) => { const module = machine.reader.line(); machine.pushGlobal(module, machine.reader.line()); }],
  [code('d'), collect],
  [code('}'), push],
  [code('e'), collectInto],
  [code('g'), (machine) => machine.stack.load(memoKey(machine))],
  [code('h'), (machine) => machine.stack.load(u8(machine))],
  [code('j'), (machine) => machine.stack.load(u32(machine))],
  [code('i'), instance],
  [code('l'), collect],
  [code(']'), push],
  [code('o'), object],
  [code('p'), (machine) => machine.stack.store(memoKey(machine))],
  [code('q'), (machine) => machine.stack.store(u8(machine))],
  [code('r'), (machine) => machine.stack.store(u32(machine))],
  [code('s'), into(2)],
  [code('t'), collect],
  [code(')'), push],
  [code('u'), collectInto],
  [0x80, protocol],
  [0x81, reduce],
  [0x82, extension],
  [0x83, extension],
  [0x84, extension],
  [0x85, combine(1)],
  [0x86, combine(2)],
  [0x87, combine(3)],
  [0x88, push],
  [0x89, push],
  [0x8a, skipSized(u8)],
  [0x8b, skipSized(i32)],
  [0x8c, text(u8)],
  [0x8d, text(u64)],
  [0x8e, skipSized(u64)],
  [0x8f, push],
  [0x90, collectInto],
  [0x91, collect],
  [0x92, (machine) => { machine.stack.pop(); reduce(machine); }],
  [0x93, stackGlobal],
  [0x94, ({ stack }) => stack.memoize()],
  [0x95, (machine) => void u64(machine)],
  [0x96, skipSized(u64)],
  [0x97, refuse('pickle.buffer', 'The pickle needs bytes that are not in it.')],
  [0x98, ({ stack }) => void stack.top()],
]);

export function isOpcode(byte: number): boolean {
  return byte === stop || steps.has(byte);
}
