import type { TokenStream } from '../../../shared/token-stream.ts';
import type { PartialText } from '../message.repository.ts';
import { toStorable } from '../storable-text.ts';

export type PieceWriterDeps = { messageId: string; tokenStream: Pick<TokenStream, 'append'>; bytesMax: number };

/**
 * Puts an answer's text into its stream in order. What it reports as written is what readers can get, so the stored
 * text and the streamed one are equal.
 */
export class PieceWriter {
  readonly #deps: PieceWriterDeps;
  /** As the stream holds them; put together when they are stored, because a text that grows by a token is a new one each time. */
  readonly #pieces: string[] = [];
  #bytes = 0;
  /** First half of a character whose second half comes with the next piece. */
  #half = '';

  constructor(deps: PieceWriterDeps) {
    this.#deps = deps;
  }

  /** False when the answer has reached its greatest length; the rest is dropped. Throws what the stream throws. */
  write(text: string): boolean {
    const whole = this.#half + text;
    this.#half = endsWithHalf(whole) ? whole.slice(-1) : '';
    const storable = toStorable(this.#half ? whole.slice(0, -1) : whole);
    const bytes = Buffer.byteLength(storable);
    const room = this.#deps.bytesMax - this.#bytes;
    const kept = bytes <= room ? storable : cutToBytes(storable, room);
    this.#bytes += Math.min(bytes, room);
    if (kept !== '') this.#append(kept);
    return bytes <= room;
  }

  /** Some text has come. */
  get hasText(): boolean {
    return this.#bytes > 0;
  }

  /** Pieces that have been written to the stream so far. */
  get count(): number {
    return this.#pieces.length;
  }

  /** The text of the first `count` pieces, as it is stored. */
  written(count: number = this.count): PartialText {
    return joined(this.#pieces.slice(0, count));
  }

  /** What `written(count)` has more than `written(before)`. */
  grown(before: number, count: number): PartialText {
    const { content, pieceLengths } = joined(this.#pieces.slice(before, count));
    return { content, pieceLengths: before > 0 && count > before ? `,${pieceLengths}` : pieceLengths };
  }

  #append(text: string): void {
    this.#deps.tokenStream.append(this.#deps.messageId, text);
    this.#pieces.push(text);
  }
}

function joined(pieces: readonly string[]): PartialText {
  return { content: pieces.join(''), pieceLengths: pieces.map(({ length }) => length).join(',') };
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
