/** The example, by the suite as a plug-in's author names it, and guarded as the service holds it. */
import { describeModelSource } from 'llm-manager/contract/model-source';
import { createIndexSource } from '../../../examples/plugins/index-source.ts';
import { createOutgoingHttp } from '../../../src/infrastructure/http/outgoing-http.ts';
import { guardSource } from '../../../src/plugins/guard-source.ts';
import type { Fault } from '../../support/hub/faults.ts';
import { unavailable } from '../../support/hub/faults.ts';
import { startIndexServer } from '../../support/index-server.ts';
import { silentLogger } from '../../support/silent-logger.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';

const spoilers: Record<'rate_limited' | 'unavailable' | 'gone' | 'silent', Fault> = {
  rate_limited: { kind: 'status', status: 429, headers: { 'retry-after': '7' } },
  unavailable: unavailable(),
  gone: { kind: 'close' },
  silent: { kind: 'slow_start', until: new Promise(() => {}) },
};

const tiny = buildTinyGguf();
const others = ['a', 'b', 'c', 'd'].map((letter) => ({ name: `org/model-${letter}`, files: [{ path: `model-${letter}.gguf`, content: Buffer.from(`weights ${letter}`) }] }));

describeModelSource('index, the example', async () => {
  const server = await startIndexServer([{ name: 'acme/tiny', files: [{ path: 'tiny.Q4_K_M.gguf', content: tiny }] }, ...others]);
  const http = createOutgoingHttp({ userAgent: 'test' });
  return {
    source: guardSource(createIndexSource({ http: http.request }, server.indexUrl), silentLogger),
    http: http.request,
    model: { source: 'index', name: 'acme/tiny', revision: null },
    file: { path: 'tiny.Q4_K_M.gguf', bytes: tiny },
    missing: { source: 'index', name: 'acme/nothing', revision: null },
    oneHit: { query: 'tiny', id: 'index:acme/tiny' },
    noHit: 'xyzzy',
    spoil: (how) => {
      const fault = server.faults.inject({ fault: spoilers[how] });
      return () => fault.remove();
    },
    close: async () => {
      await http.close();
      await server.close();
    },
  };
});
