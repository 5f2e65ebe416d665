import type { Bytes } from './bounded-file.ts';
import { ScanRefusal } from './refusal.ts';

const windowBytes = 64 * 1024;
const lineBytesMax = 64 * 1024;

/** Walks forward over a pickle with one piece of it in memory. A stream that ends too early is refused. */
export class PickleReader {
  readonly #bytes: Bytes;
  #window: Buffer = Buffer.alloc(0);
  #start = 0;
  #at = 0;

  constructor(bytes: Bytes, start = 0) {
    this.#bytes = bytes;
    this.#start = start;
  }

  get position(): number {
    return this.#start + this.#at;
  }

  byte(): number {
    this.#require(1);
    const value = this.#window[this.#at] ?? 0;
    this.#at += 1;
    return value;
  }

  take(length: number): Buffer {
    this.#require(length);
    const piece = this.#window.subarray(this.#at, this.#at + length);
    this.#at += length;
    return piece;
  }

  skip(length: number): void {
    if (length > this.#bytes.size - this.position) throw truncated();
    this.#at += length;
    if (this.#at <= this.#window.length) return;
    this.#start += this.#at;
    this.#at = 0;
    this.#window = Buffer.alloc(0);
  }

  /** Up to the next line feed, which is passed over. */
  line(): string {
    const end = this.#lineEnd();
    const text = this.#window.toString('latin1', this.#at, end);
    this.#at = end + 1;
    return text;
  }

  #lineEnd(): number {
    const known = this.#window.indexOf(0x0a, this.#at);
    if (known !== -1) return known;
    this.#load(lineBytesMax);
    const found = this.#window.indexOf(0x0a, this.#at);
    if (found === -1) throw this.position + lineBytesMax >= this.#bytes.size ? truncated() : new ScanRefusal('pickle.malformed', 'A text in the pickle has no end.');
    return found;
  }

  #require(length: number): void {
    if (this.#at + length <= this.#window.length) return;
    this.#load(Math.max(length, windowBytes));
    if (this.#window.length < length) throw truncated();
  }

  #load(length: number): void {
    const { position } = this;
    this.#window = this.#bytes.readAt(position, length);
    this.#start = position;
    this.#at = 0;
  }
}

function truncated(): ScanRefusal {
  return new ScanRefusal('pickle.truncated', 'The pickle ends before its end mark.');
}
