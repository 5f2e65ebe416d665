import type { Clock } from '../../../shared/clock.ts';
import type { EventBus } from '../../../shared/event-bus.ts';
import { passed } from './answer-keeper.ts';

export type ReadersDeps = {
  events: EventBus;
  clock: Clock;
  /** An answer of this process that nobody has read for so long is stopped; null: it goes on. */
  stopUnreadAfterMs: number | null;
};

const looksPerTime = 4;

/** Who reads which answers at this moment, so that one that nobody reads can be ended where that is wished. */
export class Readers {
  readonly #deps: ReadersDeps;
  /** By message: readers of this process. */
  readonly #here = new Map<string, number>();
  /** Of the answers that are watched: when one of its readers was last there. */
  readonly #lastReadMs = new Map<string, number>();

  constructor(deps: ReadersDeps) {
    this.#deps = deps;
  }

  /** Whoever reads calls what is returned when done; `isElsewhere`: the process that makes the answer is told. */
  enter(messageId: string, isElsewhere: boolean): () => void {
    const { stopUnreadAfterMs, events } = this.#deps;
    if (stopUnreadAfterMs === null) return () => undefined;
    this.#here.set(messageId, (this.#here.get(messageId) ?? 0) + 1);
    const tell = (): void => events.publish('chat.read', messageId, { messageId });
    const telling = isElsewhere ? setInterval(tell, stopUnreadAfterMs / looksPerTime) : undefined;
    if (isElsewhere) tell();
    return () => {
      clearInterval(telling);
      this.readElsewhere(messageId);
      const left = (this.#here.get(messageId) ?? 1) - 1;
      if (left > 0) this.#here.set(messageId, left);
      else this.#here.delete(messageId);
    };
  }

  /** Another process has said that it has a reader. */
  readElsewhere(messageId: string): void {
    if (this.#lastReadMs.has(messageId)) this.#lastReadMs.set(messageId, this.#deps.clock.monotonicMs());
  }

  /** Calls `onUnread` once nobody has read the answer for the set time, unless the signal aborts before. Never rejects. */
  async watch(messageId: string, onUnread: () => void, signal: AbortSignal): Promise<void> {
    const { stopUnreadAfterMs, clock } = this.#deps;
    if (stopUnreadAfterMs === null) return;
    this.#lastReadMs.set(messageId, clock.monotonicMs());
    try {
      while (await passed(clock.sleep(stopUnreadAfterMs / looksPerTime, signal))) {
        if (this.#here.has(messageId)) this.readElsewhere(messageId);
        const unreadMs = clock.monotonicMs() - (this.#lastReadMs.get(messageId) ?? 0);
        if (unreadMs < stopUnreadAfterMs) continue;
        onUnread();
        return;
      }
    } finally {
      this.#lastReadMs.delete(messageId);
    }
  }

  /** Hears of readers in other processes until the signal aborts. */
  async listen(signal: AbortSignal): Promise<void> {
    const { events, stopUnreadAfterMs } = this.#deps;
    if (stopUnreadAfterMs === null) return;
    for await (const read of events.subscribe('chat.read', { delivery: 'all' }, signal)) {
      if (read.type === 'event') this.readElsewhere(read.payload.messageId);
    }
  }
}
