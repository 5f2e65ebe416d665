import type { FileScanner } from '../../src/domains/downloads/file-scanner.ts';
import { createBuiltInScanners } from '../../src/domains/downloads/scanners/built-in-scanners.ts';
import { ScanThread } from '../../src/domains/downloads/scanners/scan-thread.ts';
import { createClamdScanner } from '../../src/domains/downloads/scanners/clamd-scanner.ts';
import { eicar, startClamd } from '../support/scan/clamd.ts';
import { buildSafetensors } from '../support/safetensors.ts';
import { op, stateDict } from '../support/scan/pickles.ts';
import { buildZip } from '../support/scan/zip.ts';
import { buildTinyGguf } from '../support/tiny-gguf.ts';
import { describeFileScanner, type Sample } from './file-scanner.contract.ts';

const gguf = buildTinyGguf();
const evil = Buffer.concat([op.proto(2), op.global('os', 'system'), op.binUnicode('echo harm'), op.tuple1, op.reduce, op.stop]);

const samples: Readonly<Record<string, { harmless: Sample[]; harmful: Sample[] }>> = {
  format: { harmless: [{ path: 'README.md', content: '# Model' }], harmful: [{ path: 'README.md', content: '#!/bin/sh\n' }] },
  gguf: { harmless: [{ path: 'model.gguf', content: gguf }], harmful: [{ path: 'model.gguf', content: gguf.subarray(0, -1) }] },
  safetensors: { harmless: [{ path: 'model.safetensors', content: buildSafetensors(4096) }], harmful: [{ path: 'model.safetensors', content: buildSafetensors(4096).subarray(0, 4000) }] },
  pickle: { harmless: [{ path: 'model.pkl', content: stateDict() }], harmful: [{ path: 'model.pkl', content: evil }] },
  archive: { harmless: [{ path: 'model.pt', content: buildZip([{ name: 'a/data.pkl', content: stateDict() }]) }], harmful: [{ path: 'model.pt', content: buildZip([{ name: 'a/data.pkl', content: evil }]) }] },
  template: { harmless: [{ path: 'chat_template.jinja', content: '{{ messages }}' }], harmful: [{ path: 'chat_template.jinja', content: '{{ x.__class__ }}' }] },
  source: { harmless: [], harmful: [{ path: 'model.gguf', content: gguf, sourceStatus: 'unsafe' }, { path: 'model.gguf', content: gguf, sourceStatus: 'caution' }] },
};

describeFileScanner('clamav', async () => {
  const clamd = await startClamd();
  const harmful = [{ path: 'README.md', content: eicar }, { path: 'model.gguf', content: Buffer.concat([gguf, Buffer.from(eicar)]) }];
  return { scanner: createClamdScanner({ endpoint: clamd.endpoint }), harmless: [{ path: 'README.md', content: '# Model' }, { path: 'model.gguf', content: gguf }], harmful, close: () => clamd.close() };
});

for (const [id, of] of Object.entries(samples)) {
  describeFileScanner(id, () => {
    const thread = new ScanThread();
    const scanner = createBuiltInScanners(thread).find((candidate): candidate is FileScanner => candidate.id === id);
    if (!scanner) throw new Error(`no scanner ${id}`);
    return Promise.resolve({ scanner, ...of, close: () => thread.close() });
  });
}
