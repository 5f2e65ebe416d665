import type { Dispatcher } from 'undici';

/** Held for a reader that is behind; above it the connection is not read. */
const heldBytesMax = 64 * 1024;

/**
 * An answer's body on its way from the connection to its one reader, who gets what has come meanwhile as one chunk.
 * Leaner than a stream: with many answers at once, what is done for each chunk is most of what is done.
 */
export class ResponseBody implements AsyncIterableIterator<Uint8Array> {
  readonly #controller: Dispatcher.DispatchController;
  readonly #onOver: () => void;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #waiting: PromiseWithResolvers<IteratorResult<Uint8Array>> | null = null;
  #end: { fault: unknown } | null = null;

  /** `onOver` is called once, when nothing more will come. */
  constructor(controller: Dispatcher.DispatchController, onOver: () => void) {
    this.#controller = controller;
    this.#onOver = onOver;
  }

  push(chunk: Uint8Array): void {
    if (this.#end) return;
    const waiting = this.#waiting;
    if (waiting) {
      this.#waiting = null;
      waiting.resolve({ done: false, value: chunk });
      return;
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes > heldBytesMax) this.#controller.pause();
  }

  /** `fault` null: the body is complete. What has come may still be read before the reader is told. */
  finish(fault: unknown): void {
    if (this.#end) return;
    this.#end = { fault };
    this.#onOver();
    const waiting = this.#waiting;
    this.#waiting = null;
    if (!waiting) return;
    if (fault === null) waiting.resolve({ done: true, value: undefined });
    else waiting.reject(fault);
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const held = this.#take();
    if (held) return Promise.resolve({ done: false, value: held });
    if (!this.#end) {
      this.#waiting ??= Promise.withResolvers();
      return this.#waiting.promise;
    }
    const { fault } = this.#end;
    if (fault === null) return Promise.resolve({ done: true, value: undefined });
    // Told once; whoever asks again is told that nothing is left.
    this.#end = { fault: null };
    return Promise.reject(fault instanceof Error ? fault : new Error('the connection failed', { cause: fault }));
  }

  /** As `finish`, when what has come is not wanted any more either. */
  drop(fault: unknown): void {
    this.#chunks = [];
    this.finish(fault);
  }

  /** The connection is closed when the rest has not come yet. */
  return(): Promise<IteratorResult<Uint8Array>> {
    const isComplete = this.#end !== null;
    this.drop(null);
    if (!isComplete) this.#controller.abort(new Error('the rest of the answer is not wanted'));
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #take(): Uint8Array | null {
    const [first] = this.#chunks;
    if (!first) return null;
    const held = this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#bytes = 0;
    if (this.#controller.paused) this.#controller.resume();
    return held;
  }
}
