import type { ClientPool } from './client-pool.ts';

/** Whoever holds a client whose connection has ended hears of it at once; this is ample to give it back. */
const graceMs = 250;

/**
 * Takes clients out of the pool whose connection has ended while somebody held them. Kysely 0.29 gives a client back
 * after a successful `rollback` or `commit` only, and not at all when `begin` fails, so each connection that is cut
 * in or before a transaction would cost the pool one of its places for ever.
 */
export function releaseDeadClients(pool: ClientPool): void {
  pool.on('connect', (client) => {
    client.once('end', () => {
      setTimeout(() => {
        try {
          client.release?.(true);
        } catch {
          // Given back in the normal way: a client says so by throwing.
        }
      }, graceMs).unref();
    });
  });
}
