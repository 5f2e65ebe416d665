import { ScanRefusal } from './refusal.ts';

/** What is known of a value while nothing is ever made of it: a text, an import, or only that it is there. */
export type Value = { kind: 'text'; text: string } | { kind: 'global'; module: string; name: string } | { kind: 'other' } | { kind: 'mark' };

export const other: Value = { kind: 'other' };
const mark: Value = { kind: 'mark' };

const valuesMax = 4_000_000;
/** Longer than any name of a module or of a thing in one. */
const textKeptMax = 512;

/** A longer text is no name: nothing needs to know what it says. */
export function textValue(bytes: Buffer): Value {
  return bytes.length <= textKeptMax ? { kind: 'text', text: bytes.toString('utf8') } : other;
}

function malformed(): ScanRefusal {
  return new ScanRefusal('pickle.malformed', 'The pickle takes values that are not there.');
}

/** The stack and the memo of the machine that would run the pickle. */
export class PickleStack {
  readonly #values: Value[] = [];
  readonly #memo = new Map<number, Value>();

  push(value: Value): void {
    if (this.#values.length >= valuesMax) throw new ScanRefusal('scan.limits', 'The pickle holds more values than a model needs.');
    this.#values.push(value);
  }

  pushMark(): void {
    this.push(mark);
  }

  pop(): Value {
    const value = this.#values.pop();
    if (value === undefined || value.kind === 'mark') throw malformed();
    return value;
  }

  top(): Value {
    const value = this.#values.at(-1);
    if (value === undefined || value.kind === 'mark') throw malformed();
    return value;
  }

  /** The opcode that may take away a mark, too. */
  drop(): void {
    if (this.#values.pop() === undefined) throw malformed();
  }

  /** All above the last mark; the mark goes with them. */
  popToMark(): Value[] {
    const at = this.#values.lastIndexOf(mark);
    if (at === -1) throw malformed();
    return this.#values.splice(at).slice(1);
  }

  store(key: number): void {
    if (this.#memo.size >= valuesMax) throw new ScanRefusal('scan.limits', 'The pickle remembers more values than a model needs.');
    this.#memo.set(key, this.top());
  }

  memoize(): void {
    this.store(this.#memo.size);
  }

  load(key: number): void {
    const value = this.#memo.get(key);
    if (value === undefined) throw malformed();
    this.push(value);
  }
}
