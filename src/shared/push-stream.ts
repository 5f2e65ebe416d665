import { StopReason } from './abort.ts';

/** Takes one value. Answers nothing when it has room for the next one, else resolves when it has; may throw or reject. */
export type Take<T> = (value: T) => Promise<void> | undefined;

/**
 * Hands values to `take`, one after another and no faster than it has room, and resolves after the last one, or soon
 * after the signal has aborted. Rejects with what `take` threw, or with the stream's own fault.
 */
export type Pour<T> = (take: Take<T>, signal: AbortSignal) => Promise<void>;

/** What `take` threw, on its way through streams that are made of one another: none of them takes it for a fault of its own. */
export class TakerFault extends Error {}

/**
 * A stream for one reader that hands each value on in the turn in which it comes. Tokens pass through many hands
 * between an engine and a socket, and as promises from hand to hand they cost more than all that is done with them.
 * Nothing happens before it is read. Whoever can only iterate does so, at the cost of some promises a value.
 */
export class PushStream<T> implements AsyncIterable<T> {
  /** For streams that are made of this one: rejects with a TakerFault for what `take` threw. */
  readonly pour: Pour<T>;

  constructor(pour: Pour<T>) {
    this.pour = pour;
  }

  /** A stream of any kind; one of this kind is itself. */
  static of<T>(values: AsyncIterable<T>): PushStream<T> {
    return values instanceof PushStream ? (values as PushStream<T>) : new PushStream((take, signal) => pourIterable(values, take, signal));
  }

  /** Once. Resolves after the last value; rejects with what `take` threw or with the stream's own fault. */
  async each(take: Take<T>, signal: AbortSignal): Promise<void> {
    try {
      await this.pour(marked(take), signal);
    } catch (error) {
      throw error instanceof TakerFault ? error.cause : error;
    }
  }

  /** What `change` throws is a fault of the stream that it makes, not of this one. */
  map<R>(change: (value: T) => R | Promise<R>): PushStream<R> {
    return new PushStream(async (take, signal) => {
      const own: { fault?: TakerFault } = {};
      const fail = (cause: unknown): never => {
        throw (own.fault = new TakerFault('', { cause }));
      };
      const taking = (value: T): Promise<void> | undefined => {
        let changed: R | Promise<R>;
        try {
          changed = change(value);
        } catch (cause) {
          return fail(cause);
        }
        return changed instanceof Promise ? changed.then(take, fail) : take(changed);
      };
      try {
        await this.pour(taking, signal);
      } catch (error) {
        throw own.fault !== undefined && error === own.fault ? own.fault.cause : error;
      }
    });
  }

  /** Ends with the value that `last` makes of the stream's own fault, or without one where it makes null of it. */
  endingWith(last: (fault: unknown) => T | null): PushStream<T> {
    return new PushStream(async (take, signal) => {
      try {
        await this.pour(take, signal);
      } catch (error) {
        if (error instanceof TakerFault) throw error;
        const value = last(error);
        if (value !== null) await take(value);
      }
    });
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    return new Pulled(this);
  }
}

/** Lets go of what is iterated as soon as the signal aborts, even while its next value is waited for. */
async function pourIterable<T>(values: AsyncIterable<T>, take: Take<T>, signal: AbortSignal): Promise<void> {
  const source = values[Symbol.asyncIterator]();
  const leave = async (): Promise<void> => {
    await Promise.resolve(source.return?.()).catch(() => undefined);
  };
  const onAbort = (): void => void leave();
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    while (!signal.aborted) {
      const next = await source.next();
      // The signal may have aborted meanwhile, which the compiler does not expect of it.
      if (next.done === true || (signal as { aborted: boolean }).aborted) return;
      const room = take(next.value);
      if (room) await room;
    }
  } catch (error) {
    if (error instanceof TakerFault) await leave();
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function marked<T>(take: Take<T>): Take<T> {
  const fail = (cause: unknown): never => {
    throw cause instanceof TakerFault ? cause : new TakerFault('', { cause });
  };
  return (value) => {
    try {
      return take(value)?.catch(fail);
    } catch (error) {
      return fail(error);
    }
  };
}

/** A value is asked for before the next one may come: whoever stops asking holds nothing. */
class Pulled<T> implements AsyncIterableIterator<T, undefined> {
  readonly #stream: PushStream<T>;
  readonly #gone = new AbortController();
  #asked: PromiseWithResolvers<IteratorResult<T, undefined>> | null = null;
  /** Set while the stream waits to be asked for more. */
  #more: (() => void) | null = null;
  #hasBegun = false;
  #over: { fault: unknown } | null = null;

  constructor(stream: PushStream<T>) {
    this.#stream = stream;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#over) return this.#told(this.#over);
    const asked = Promise.withResolvers<IteratorResult<T, undefined>>();
    this.#asked = asked;
    if (this.#hasBegun) this.#more?.();
    else void this.#begin();
    return asked.promise;
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#finish(null);
    this.#gone.abort(new StopReason('caller_gone'));
    this.#more?.();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #begin(): Promise<void> {
    this.#hasBegun = true;
    try {
      await this.#stream.each((value) => this.#hand(value), this.#gone.signal);
      this.#finish(null);
    } catch (fault) {
      this.#finish(fault);
    }
  }

  #hand(value: T): Promise<void> | undefined {
    this.#gone.signal.throwIfAborted();
    const asked = this.#asked;
    this.#asked = null;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#more = () => {
      this.#more = null;
      resolve(undefined);
    };
    asked?.resolve({ done: false, value });
    return promise;
  }

  #finish(fault: unknown): void {
    if (this.#over) return;
    this.#over = { fault };
    const asked = this.#asked;
    this.#asked = null;
    if (asked) this.#told(this.#over).then(asked.resolve, asked.reject);
  }

  /** A fault once; whoever asks again is told that nothing is left. */
  #told(over: { fault: unknown }): Promise<IteratorResult<T, undefined>> {
    const { fault } = over;
    over.fault = null;
    return fault === null ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(fault instanceof Error ? fault : new Error('the stream failed', { cause: fault }));
  }
}
