import { cutShort, notAnAnswer } from '../generation/upstream-faults.ts';

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
/** Of OpenAI's streams; some engines leave the line open. */
const lastLine = 'data: [DONE]';

/**
 * Cuts a stream of server-sent events between events, without reading them: what has been passed on is then always
 * whole, and an error can be told after it. Nearly every chunk of an engine is whole already and is passed on as it is.
 */
export class WholeEvents {
  readonly #bytesMax: number;
  #tail: Uint8Array = new Uint8Array();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The events that are complete now; null when there is none yet. Throws RUNTIME_UNAVAILABLE for one that is too long. */
  push(chunk: Uint8Array): Uint8Array | null {
    if (this.#tail.length === 0 && endsEvent(chunk, chunk.length)) return chunk;
    const joined = this.#tail.length === 0 ? chunk : Buffer.concat([this.#tail, chunk]);
    let end = joined.length;
    while (end > 0 && !endsEvent(joined, end)) end -= 1;
    this.#tail = joined.subarray(end);
    if (this.#tail.length > this.#bytesMax) throw notAnAnswer(`an event of more than ${this.#bytesMax} bytes`);
    return end === 0 ? null : joined.subarray(0, end);
  }

  /** What came after the last whole event: at most one whose empty line was left out. Throws NETWORK_FAILED for half a one. */
  finish(): Uint8Array {
    const tail = Buffer.from(this.#tail.buffer, this.#tail.byteOffset, this.#tail.byteLength);
    if (tail.length === 0 || tail.at(-1) === lineFeed || tail.toString('utf8').endsWith(lastLine)) return tail;
    throw cutShort();
  }
}

/** An empty line ends an event: `\n\n`, `\n\r\n` or `\r\r`. */
function endsEvent(bytes: Uint8Array, end: number): boolean {
  if (bytes[end - 1] === carriageReturn) return bytes[end - 2] === carriageReturn;
  if (bytes[end - 1] !== lineFeed) return false;
  return bytes[end - 2] === lineFeed || (bytes[end - 2] === carriageReturn && bytes[end - 3] === lineFeed);
}
