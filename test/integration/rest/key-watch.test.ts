import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { createKeyWatch } from '../../../src/adapters/http/key-watch.ts';
import { createGate } from '../../../src/shared/async.ts';
import type { Principal } from '../../../src/shared/principal.ts';
import { openTestLive } from '../../support/live.ts';
import { silentLogger } from '../../support/silent-logger.ts';

let live: Awaited<ReturnType<typeof openTestLive>>;
beforeAll(async () => {
  live = await openTestLive();
});
afterAll(async () => live.close());

const principalOf = (keyId: string, lifeMs?: number): Principal => ({ keyId, owner: 'somebody', role: 'USER', ...(lifeMs !== undefined && { expiresAt: new Date(Date.now() + lifeMs) }) });

// The check of all keys comes every 15 s: who waited for that would not be through in time.
it('ends what is open when its key expires, not at the next check of all keys, and leaves other keys alone', async () => {
  const [short, long] = [principalOf('short', 100), principalOf('long', 60_000)];
  const access = { recheck: (principal: Principal) => Promise.resolve(principal.expiresAt && principal.expiresAt.getTime() > Date.now() ? principal : null) };
  const watch = createKeyWatch({ events: live.events, access, logger: silentLogger });
  const ended: string[] = [];
  const gates = [createGate(), createGate()];
  const open = new AbortController().signal;
  watch.onRevoked(long, open, () => ended.push('long'));
  for (const [index, gate] of gates.entries()) {
    watch.onRevoked(short, open, () => {
      ended.push(`short ${index}`);
      gate.open();
    });
  }
  await Promise.all(gates.map((gate) => gate.opened));
  watch.close();
  expect(ended.sort()).toEqual(['short 0', 'short 1']);
}, 8_000);
