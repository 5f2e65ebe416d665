import { StopReason } from '../../shared/abort.ts';

export type StreamOptions = {
  /** The operation's own signal. */
  signal: AbortSignal;
  /**
   * The stream begins with the present state: wait for it, so that an unknown id is an answer with an error
   * instead of a stream that breaks.
   */
  startsAtOnce: boolean;
};

/**
 * A stream of a use case as GraphQL executes it: `return()` aborts the stream's own signal. An async generator that
 * waits for its next event answers `return()` only after that event, so without the signal a reader that goes away
 * would leave it hanging.
 */
export async function openStream<T>(open: (signal: AbortSignal) => AsyncIterable<T>, { signal, startsAtOnce }: StreamOptions): Promise<AsyncIterableIterator<T>> {
  const own = new AbortController();
  const onAbort = (): void => own.abort(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  const source = open(own.signal)[Symbol.asyncIterator]();
  const release = (): void => signal.removeEventListener('abort', onAbort);
  let ended = false;
  const end = (): IteratorReturnResult<undefined> => {
    ended = true;
    release();
    return { done: true, value: undefined };
  };
  const pull = async (): Promise<IteratorResult<T, undefined>> => {
    if (ended) return end();
    try {
      const result = await source.next();
      return result.done ? end() : { done: false, value: result.value };
    } catch (error) {
      end();
      // A reader that went away has nobody to tell.
      if (own.signal.aborted) return { done: true, value: undefined };
      throw error;
    }
  };
  let first = startsAtOnce ? await pull() : null;
  const stream: AsyncIterableIterator<T> = {
    [Symbol.asyncIterator]: () => stream,
    next: async () => {
      const waiting = first;
      first = null;
      return waiting ?? (await pull());
    },
    return: async () => {
      own.abort(new StopReason('caller_gone'));
      end();
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return stream;
}
