import type { PushStream } from './push-stream.ts';

/**
 * The append-only stream of one answer. Positions count pieces from 0; a piece is one or more tokens.
 * In memory when embedded, a Redis Stream per message in production; the same contract suite runs on both.
 */
export type StreamPiece = { type: 'piece'; index: number; text: string };
export type StreamEnd = {
  type: 'end';
  /** The last piece's index, -1 when there was none. */
  index: number;
  /** JSON-safe facts of the ended answer (status, usage, finish reason, error). */
  outcome: Readonly<Record<string, unknown>>;
};
export type StreamEntry = StreamPiece | StreamEnd;

export type TokenStream = {
  /** Readers of other processes get what is appended here. */
  readonly isShared: boolean;
  /**
   * Appends one piece and returns its index. Pieces of one message are appended by one writer, in order. Readers of this
   * process have it when the call returns, those of others a moment later: it waits for nobody, and no reader's fault
   * comes back from it. Throws OVERLOADED where the answer, or all of them, are longer than can be held.
   */
  append(messageId: string, text: string): number;
  /** Marks the end; readers get it after the last piece and are done. The stream stays readable for a while. */
  end(messageId: string, outcome: StreamEnd['outcome']): Promise<void>;
  /**
   * Marks the end of a stream whose writer is gone, for those who still wait for it; does nothing where there is none
   * or where it has ended.
   */
  abandon(messageId: string, outcome: StreamEnd['outcome']): Promise<void>;
  /** The pieces that are held now, from the first one on; null without a stream. */
  pieces(messageId: string): Promise<readonly string[] | null>;
  /** True while the stream can be read from position 0 (live, or ended a short while ago). */
  has(messageId: string): Promise<boolean>;
  /**
   * Every entry after position `after` (-1 = from the start), in order, first the stored ones, then live, up to
   * the end entry. A reader without room for more costs nothing but its own place, because entries are stored once per
   * message and never queued per reader. A message without a stream yet is waited for. Ends without the end entry when
   * the signal aborts, or when the stream has been forgotten meanwhile: the message in the database has the rest.
   */
  read(messageId: string, after: number): PushStream<StreamEntry>;
};
