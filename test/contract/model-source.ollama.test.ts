import { openOllama, tinyGguf } from '../support/catalog/fixtures.ts';
import { rateLimited, unavailable } from '../support/hub/faults.ts';
import type { Fault } from '../support/hub/faults.ts';
import { describeModelSource } from './model-source.contract.ts';

const spoilers: Record<'rate_limited' | 'unavailable' | 'gone' | 'silent', Fault> = {
  rate_limited: rateLimited(7, { retryAfter: true }),
  unavailable: unavailable(),
  gone: { kind: 'close' },
  silent: { kind: 'slow_start', until: new Promise(() => {}) },
};

describeModelSource('ollama', async () => {
  const { library, registry, source, http, close } = await openOllama();
  return {
    source,
    http,
    model: { source: 'ollama', name: 'tiny', revision: null },
    file: { path: 'tiny-latest.gguf', bytes: tinyGguf },
    missing: { source: 'ollama', name: 'nothing', revision: null },
    oneHit: { query: 'tiny', id: 'ollama:tiny' },
    noHit: 'xyzzy',
    spoil: (how) => {
      const faults = [library, registry].map((server) => server.faults.inject({ fault: spoilers[how] }));
      return () => {
        for (const fault of faults) fault.remove();
      };
    },
    close,
  };
});
