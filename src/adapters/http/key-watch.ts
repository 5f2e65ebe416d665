import type { Access } from '../../domains/access/types.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Principal } from '../../shared/principal.ts';

/** Calls back, once at most, when the key behind `principal` stops being good; not after the signal has aborted. */
export type OnRevoked = (principal: Principal, signal: AbortSignal, revoked: () => void) => void;

export type KeyWatch = { onRevoked: OnRevoked; close: () => void };

type KeyWatchOptions = { events: EventBus; access: Pick<Access, 'recheck'>; logger: Logger };
type Watcher = { principal: Principal; revoked: () => void };

/** A key that expires tells nobody; this is how late an open socket may notice. */
const expiryCheckMs = 15_000;

/** Keeps an eye on the keys of everything that stays open; one subscription serves all of them. */
export function createKeyWatch({ events, access, logger }: KeyWatchOptions): KeyWatch {
  const watchers = new Map<string, Set<Watcher>>();
  const closing = new AbortController();

  function end(keyId: string): void {
    const list = watchers.get(keyId) ?? [];
    watchers.delete(keyId);
    for (const { revoked } of list) revoked();
  }

  async function check(keyId: string): Promise<void> {
    const [first] = watchers.get(keyId) ?? [];
    if (first && (await access.recheck(first.principal)) === null) end(keyId);
  }

  const checkSafely = async (keyId: string): Promise<void> => {
    try {
      await check(keyId);
    } catch (err) {
      // The next check tries again; until then the key counts as it did.
      logger.warn({ err, keyId }, 'a key could not be looked at again');
    }
  };
  const checkAll = async (): Promise<void> => {
    await Promise.all([...watchers.keys()].map(checkSafely));
  };
  async function follow(): Promise<void> {
    for await (const delivery of events.subscribe('access.key_changed', { delivery: 'latest' }, closing.signal)) {
      if (delivery.type === 'resync') await checkAll();
      // Revoked or given a new secret: nobody can tell which sockets hold the old one, so all come back with the new.
      else end(delivery.payload.keyId);
    }
  }

  void follow();
  const timer = setInterval(() => void checkAll(), expiryCheckMs);
  return {
    onRevoked(principal, signal, revoked) {
      if (signal.aborted) return;
      const watcher = { principal, revoked };
      const list = watchers.get(principal.keyId) ?? new Set<Watcher>();
      watchers.set(principal.keyId, list.add(watcher));
      const forget = (): void => {
        list.delete(watcher);
        if (list.size === 0) watchers.delete(principal.keyId);
      };
      signal.addEventListener('abort', forget, { once: true });
    },
    close() {
      clearInterval(timer);
      closing.abort();
    },
  };
}
