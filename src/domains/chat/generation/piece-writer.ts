import type { Clock } from '../../../shared/clock.ts';
import type { TokenStream } from '../../../shared/token-stream.ts';
import type { PartialText } from '../message.repository.ts';
import { toStorable } from '../storable-text.ts';

export type PieceWriterDeps = { messageId: string; tokenStream: TokenStream; clock: Clock; bytesMax: number };

/** A stream that takes this long for a piece is behind: what has come meanwhile becomes one piece. */
const behindAfterMs = 20;

/**
 * Puts an answer's text into its stream in order, without ever holding up the engine. What it reports as written
 * is what readers can get, so the stored text and the streamed one are equal.
 */
export class PieceWriter {
  readonly #deps: PieceWriterDeps;
  #waiting: { text: string; sinceMs: number }[] = [];
  #pump: Promise<void> | null = null;
  #fault: { error: unknown } | null = null;
  #content = '';
  #lengths = '';
  #bytes = 0;
  /** First half of a character whose second half comes with the next piece. */
  #half = '';

  constructor(deps: PieceWriterDeps) {
    this.#deps = deps;
  }

  /** False when the answer has reached its greatest length; the rest is dropped. */
  write(text: string): boolean {
    if (this.#fault) throw this.#fault.error;
    const joined = this.#half + text;
    this.#half = endsWithHalf(joined) ? joined.slice(-1) : '';
    const whole = toStorable(this.#half ? joined.slice(0, -1) : joined);
    const bytes = Buffer.byteLength(whole);
    const room = this.#deps.bytesMax - this.#bytes;
    const kept = bytes <= room ? whole : cutToBytes(whole, room);
    this.#bytes += Math.min(bytes, room);
    if (kept !== '') {
      this.#waiting.push({ text: kept, sinceMs: this.#deps.clock.monotonicMs() });
      this.#pump ??= this.#run();
    }
    return bytes <= room;
  }

  /** Some text has come, even if it is not in the stream yet. */
  get hasText(): boolean {
    return this.#bytes > 0;
  }

  /** Everything that has been written to the stream so far. */
  get written(): PartialText {
    return { content: this.#content, pieceLengths: this.#lengths };
  }

  /** Resolves when all text is in the stream; rejects when it could not be put there. */
  async flush(): Promise<void> {
    await this.#pump;
    if (this.#fault) throw this.#fault.error;
  }

  async #run(): Promise<void> {
    try {
      for (let text = this.#next(); text !== null; text = this.#next()) {
        await this.#deps.tokenStream.append(this.#deps.messageId, text);
        this.#content += text;
        this.#lengths += `${this.#lengths === '' ? '' : ','}${text.length}`;
      }
    } catch (error) {
      this.#fault = { error };
    } finally {
      this.#pump = null;
    }
  }

  #next(): string | null {
    const [first] = this.#waiting;
    if (!first) return null;
    const isBehind = this.#deps.clock.monotonicMs() - first.sinceMs > behindAfterMs;
    const taken = this.#waiting.splice(0, isBehind ? this.#waiting.length : 1);
    return taken.map(({ text }) => text).join('');
  }
}

/** The pieces of a stored answer, in order. */
export function splitPieces({ content, pieceLengths }: PartialText): string[] {
  const lengths = pieceLengths === '' ? [] : pieceLengths.split(',').map(Number);
  const pieces: string[] = [];
  let start = 0;
  for (const length of lengths) {
    pieces.push(content.slice(start, start + length));
    start += length;
  }
  // Text without lengths was never streamed here: it is one piece.
  return start < content.length ? [...pieces, content.slice(start)] : pieces;
}

function endsWithHalf(text: string): boolean {
  const last = text.charCodeAt(text.length - 1);
  return last >= 0xd800 && last <= 0xdbff;
}

/** At most `bytesMax` bytes of UTF-8, no character cut in two. */
function cutToBytes(text: string, bytesMax: number): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytesMax));
  return text.slice(0, read);
}
