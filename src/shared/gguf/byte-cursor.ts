import { GgufError } from './errors.ts';
import { ggufLimits } from './limits.ts';

/** Answers the bytes from `offset` on: `length` of them, or fewer where the file ends. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

export type ByteSource = { readAt: ReadAt; /** Of the whole file, in bytes. */ size: number };

const readBytesFirst = 64 * 1024;
const readBytesMax = 1024 * 1024;

/**
 * Walks forward over a source and keeps one piece of it in memory. `require` is the only method that reads and the
 * only check of bounds; the getters take from what it made sure of.
 */
export class ByteCursor {
  readonly #source: ByteSource;
  readonly #decoder = new TextDecoder();
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(new ArrayBuffer(0));
  /** Where `#bytes` begins in the file. */
  #start = 0;
  #at = 0;
  #readBytes = readBytesFirst;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  get position(): number {
    return this.#start + this.#at;
  }

  async require(length: number): Promise<void> {
    if (this.#at + length <= this.#bytes.length) return;
    const { position } = this;
    if (position + length > this.#source.size) throw new GgufError('TRUNCATED', `The file ends within its header, at byte ${this.#source.size}.`);
    if (position + length > ggufLimits.headerBytes) throw new GgufError('LIMIT_EXCEEDED', `The header is longer than ${ggufLimits.headerBytes} bytes.`);
    const wanted = Math.min(Math.max(length, this.#readBytes), this.#source.size - position);
    this.#readBytes = Math.min(this.#readBytes * 4, readBytesMax);
    const bytes = await this.#source.readAt(position, wanted);
    if (bytes.length < length) throw new GgufError('TRUNCATED', 'The file is shorter than it was said to be.');
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#start = position;
    this.#at = 0;
  }

  /** Passes over `length` bytes without reading those that are not in memory. */
  skip(length: number): void {
    if (this.position + length > this.#source.size) throw new GgufError('TRUNCATED', `The file ends within its header, at byte ${this.#source.size}.`);
    if (this.position + length > ggufLimits.headerBytes) throw new GgufError('LIMIT_EXCEEDED', `The header is longer than ${ggufLimits.headerBytes} bytes.`);
    this.#at += length;
    if (this.#at <= this.#bytes.length) return;
    this.#start += this.#at;
    this.#at = 0;
    this.#bytes = new Uint8Array(0);
  }

  async u32(): Promise<number> {
    await this.require(4);
    return this.#view.getUint32(this.#advance(4), true);
  }

  async u64(): Promise<bigint> {
    await this.require(8);
    return this.#view.getBigUint64(this.#advance(8), true);
  }

  async view(length: number): Promise<DataView> {
    await this.require(length);
    return new DataView(this.#view.buffer, this.#view.byteOffset + this.#advance(length), length);
  }

  async text(length: number): Promise<string> {
    await this.require(length);
    const at = this.#advance(length);
    return this.#decoder.decode(this.#bytes.subarray(at, at + length));
  }

  /** `count` strings, one after another, passed over: a vocabulary has hundreds of thousands, nobody here reads one. */
  async skipStrings(count: number, lengthMax: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      // Without the check there would be as many promises as strings.
      if (this.#at + 8 > this.#bytes.length) await this.require(8);
      const length = this.#view.getBigUint64(this.#advance(8), true);
      if (length > BigInt(lengthMax)) throw new GgufError('LIMIT_EXCEEDED', `A text is longer than ${lengthMax} bytes.`);
      this.skip(Number(length));
    }
  }

  #advance(length: number): number {
    const at = this.#at;
    this.#at += length;
    return at;
  }
}
