import type { Dispatcher } from 'undici';
import { PushStream, type Take } from '../../shared/push-stream.ts';

/** Held for a reader that is behind; above it the connection is not read. */
const heldBytesMax = 64 * 1024;

type Reader = { take: Take<Uint8Array>; resolve: () => void; reject: (fault: unknown) => void };

/**
 * An answer's body on its way from the connection to its one reader, who gets each chunk in the turn in which it comes,
 * and what has come while it had no room as one chunk. Leaner than a stream: with many answers at once, what is done
 * for each chunk is most of what is done.
 */
export class ResponseBody {
  /** Read once. A reader that leaves, or whose signal aborts, closes the connection when the rest has not come yet. */
  readonly chunks: PushStream<Uint8Array>;
  readonly #controller: Dispatcher.DispatchController;
  readonly #onOver: () => void;
  #held: Uint8Array[] = [];
  #bytes = 0;
  #reader: Reader | null = null;
  #isBusy = false;
  #end: { fault: unknown } | null = null;

  /** `onOver` is called once, when nothing more will come. */
  constructor(controller: Dispatcher.DispatchController, onOver: () => void) {
    this.#controller = controller;
    this.#onOver = onOver;
    this.chunks = new PushStream((take, signal) => this.#pour(take, signal));
  }

  push(chunk: Uint8Array): void {
    if (this.#end) return;
    if (this.#reader && !this.#isBusy) {
      this.#hand(chunk, this.#reader);
      return;
    }
    this.#held.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes > heldBytesMax) this.#controller.pause();
  }

  /** `fault` null: the body is complete. What has come may still be read before the reader is told. */
  finish(fault: unknown): void {
    if (this.#end) return;
    this.#end = { fault };
    this.#onOver();
    if (!this.#isBusy) this.#goOn();
  }

  /** As `finish`, when what has come is not wanted any more either. */
  drop(fault: unknown): void {
    this.#held = [];
    this.#isBusy = false;
    this.finish(fault);
  }

  async #pour(take: Take<Uint8Array>, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const onAbort = (): void => this.#leave();
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) this.#leave();
    this.#reader = { take, resolve: () => resolve(undefined), reject };
    this.#goOn();
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Hands over what is held; tells the end when nothing is. */
  #goOn(): void {
    const reader = this.#reader;
    if (!reader) return;
    const held = this.#takeHeld();
    if (held) this.#hand(held, reader);
    else if (this.#end) {
      const { fault } = this.#end;
      if (fault === null) reader.resolve();
      else reader.reject(fault instanceof Error ? fault : new Error('the connection failed', { cause: fault }));
    }
  }

  #hand(chunk: Uint8Array, { take, reject }: Reader): void {
    const fail = (fault: unknown): void => {
      reject(fault);
      this.#leave();
    };
    this.#isBusy = true;
    try {
      const room = take(chunk);
      if (!room) {
        this.#isBusy = false;
        if (this.#end) this.#goOn();
        return;
      }
      room.then(() => {
        this.#isBusy = false;
        this.#goOn();
      }, fail);
    } catch (fault) {
      fail(fault);
    }
  }

  #leave(): void {
    const isComplete = this.#end !== null;
    this.drop(null);
    if (!isComplete) this.#controller.abort(new Error('the rest of the answer is not wanted'));
  }

  #takeHeld(): Uint8Array | null {
    const [first] = this.#held;
    if (!first) return null;
    const held = this.#held.length === 1 ? first : Buffer.concat(this.#held);
    this.#held = [];
    this.#bytes = 0;
    if (this.#controller.paused) this.#controller.resume();
    return held;
  }
}
