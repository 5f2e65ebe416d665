import { openHub, tinyGguf } from '../support/catalog/fixtures.ts';
import { rateLimited, unavailable } from '../support/hub/faults.ts';
import type { Fault } from '../support/hub/faults.ts';
import { describeModelSource } from './model-source.contract.ts';

const spoilers: Record<'rate_limited' | 'unavailable' | 'gone' | 'silent', Fault> = {
  rate_limited: rateLimited(7),
  unavailable: unavailable(),
  gone: { kind: 'close' },
  silent: { kind: 'slow_start', until: new Promise(() => {}) },
};

describeModelSource('huggingface', async () => {
  const { hub, source, http, close } = await openHub();
  return {
    source,
    http,
    model: { source: 'huggingface', name: 'acme/tiny-GGUF', revision: null },
    file: { path: 'tiny.Q4_K_M.gguf', bytes: tinyGguf },
    missing: { source: 'huggingface', name: 'acme/nothing', revision: null },
    oneHit: { query: 'tiny', id: 'huggingface:acme/tiny-GGUF' },
    noHit: 'xyzzy',
    spoil: (how) => {
      const fault = hub.faults.inject({ fault: spoilers[how] });
      return () => fault.remove();
    },
    close,
  };
});
