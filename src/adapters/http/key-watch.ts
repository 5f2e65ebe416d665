import type { Access } from '../../domains/access/types.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Principal } from '../../shared/principal.ts';

/** Calls back, once at most, when the key behind `principal` stops being good; not after the signal has aborted. */
export type OnRevoked = (principal: Principal, signal: AbortSignal, revoked: () => void) => void;

export type KeyWatch = { onRevoked: OnRevoked; close: () => void };

type KeyWatchOptions = { events: EventBus; access: Pick<Access, 'recheck'>; logger: Logger };
type Watcher = { principal: Principal; revoked: () => void };
type Watched = { watchers: Set<Watcher>; /** Fires when the key expires, if that is before the next check of all. */ timer: NodeJS.Timeout | undefined };

/** A key that another process has changed while events were away tells nobody; this is how late an open socket may notice. */
const checkMs = 15_000;
/** A timer may be early by a moment, and the key still good then. */
const expirySlackMs = 20;

/** The keys of everything that stays open. */
class WatchedKeys {
  readonly #keys = new Map<string, Watched>();
  readonly #options: Pick<KeyWatchOptions, 'access' | 'logger'>;

  constructor(options: Pick<KeyWatchOptions, 'access' | 'logger'>) {
    this.#options = options;
  }

  add(watcher: Watcher): () => void {
    const { keyId } = watcher.principal;
    const key: Watched = this.#keys.get(keyId) ?? { watchers: new Set(), timer: undefined };
    this.#keys.set(keyId, key);
    key.watchers.add(watcher);
    if (key.watchers.size === 1) this.#arm(keyId, key);
    return () => {
      key.watchers.delete(watcher);
      if (key.watchers.size > 0) return;
      clearTimeout(key.timer);
      if (this.#keys.get(keyId) === key) this.#keys.delete(keyId);
    };
  }

  end(keyId: string): void {
    const key = this.#keys.get(keyId);
    this.#keys.delete(keyId);
    clearTimeout(key?.timer);
    for (const { revoked } of key?.watchers ?? []) revoked();
  }

  async checkAll(): Promise<void> {
    await Promise.all([...this.#keys.keys()].map((keyId) => this.#check(keyId)));
    for (const [keyId, key] of this.#keys) this.#arm(keyId, key);
  }

  close(): void {
    for (const { timer } of this.#keys.values()) clearTimeout(timer);
  }

  async #check(keyId: string): Promise<void> {
    const { access, logger } = this.#options;
    try {
      const [first] = this.#keys.get(keyId)?.watchers ?? [];
      if (first && (await access.recheck(first.principal)) === null) this.end(keyId);
    } catch (err) {
      // The next check tries again; until then the key counts as it did.
      logger.warn({ err, keyId }, 'a key could not be looked at again');
    }
  }

  /** Only an expiry before the next check of all gets a timer: timers count to 24 days at most. */
  #arm(keyId: string, key: Watched): void {
    const [first] = key.watchers;
    const inMs = first?.principal.expiresAt ? first.principal.expiresAt.getTime() - Date.now() + expirySlackMs : Infinity;
    clearTimeout(key.timer);
    key.timer = inMs <= checkMs ? setTimeout(() => void this.#check(keyId), inMs) : undefined;
  }
}

/** Keeps an eye on the keys of everything that stays open; one subscription serves all of them. */
export function createKeyWatch({ events, access, logger }: KeyWatchOptions): KeyWatch {
  const keys = new WatchedKeys({ access, logger });
  const closing = new AbortController();
  async function follow(): Promise<void> {
    for await (const delivery of events.subscribe('access.key_changed', { delivery: 'latest' }, closing.signal)) {
      if (delivery.type === 'resync') await keys.checkAll();
      // Revoked or given a new secret: nobody can tell which sockets hold the old one, so all come back with the new.
      else keys.end(delivery.payload.keyId);
    }
  }

  void follow();
  const timer = setInterval(() => void keys.checkAll(), checkMs);
  return {
    onRevoked(principal, signal, revoked) {
      if (!signal.aborted) signal.addEventListener('abort', keys.add({ principal, revoked }), { once: true });
    },
    close() {
      clearInterval(timer);
      keys.close();
      closing.abort();
    },
  };
}
