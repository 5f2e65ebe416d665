import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { ScanTarget } from '../../../src/domains/downloads/file-scanner.ts';
import { ScanSuite } from '../../../src/domains/downloads/scan-suite.ts';
import { createClamdScanner } from '../../../src/domains/downloads/scanners/clamd-scanner.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';
import { type Clamd, eicar, startClamd } from '../../support/scan/clamd.ts';
import { silentLogger } from '../../support/silent-logger.ts';

const never = new AbortController().signal;
let clamd: Clamd;
let folder: TemporaryFolder;

beforeAll(async () => {
  [clamd, folder] = await Promise.all([startClamd(), createTemporaryFolder('clamd')]);
});
beforeEach(() => {
  Object.assign(clamd.knobs, { streamBytesMax: 25 * 1024 * 1024, answer: undefined });
  clamd.streams.length = 0;
});
afterAll(async () => {
  await clamd.close();
  await folder.remove();
});

function put(path: string, content: string | Buffer): ScanTarget {
  const file = join(folder.path, 'file.part');
  writeFileSync(file, content);
  return { path, file, sizeBytes: Buffer.byteLength(content), sourceStatus: null };
}

const limits = { wholeBytesMax: 4096, weightsBytesMax: 1024 };
const scanner = (more: { idleMs?: number } = {}) => createClamdScanner({ endpoint: clamd.endpoint, ...limits, ...more });
const report = (target: ScanTarget, isSetAside = false) => new ScanSuite({ scanners: [scanner()], clock: systemClock, logger: silentLogger }).report(target, { isSetAside }, never);

describe('a ClamAV daemon', () => {
  it('is shown a small file whole, and has its verdict', async () => {
    expect(await report(put('README.md', '# Fine'))).toMatchObject({ verdict: 'CLEAN', scanners: ['clamav@1'] });
    expect(await report(put('README.md', `# Bad\n${eicar}`))).toMatchObject({ verdict: 'BLOCKED', findings: [{ rule: 'clamav.found' }] });
    expect(clamd.streams).toEqual([6, 6 + eicar.length]);
  });

  it('is shown the head of weights, and the verdict says so', async () => {
    expect(await report(put('m.gguf', Buffer.alloc(5000)))).toMatchObject({ verdict: 'CLEAN', findings: [{ rule: 'clamav.partial', severity: 'info' }] });
    expect(clamd.streams).toEqual([1024]);
  });

  it('has not scanned what is too large to be shown', async () => {
    expect(await report(put('model.bin', Buffer.alloc(5000)))).toMatchObject({ verdict: 'NOT_SCANNED', findings: [{ rule: 'clamav.partial' }] });
    clamd.knobs.streamBytesMax = 100;
    expect(await report(put('model.bin', Buffer.alloc(4000)))).toMatchObject({ verdict: 'NOT_SCANNED', findings: [{ rule: 'clamav.error' }] });
  });

  it('that dies while it is shown a file makes the download wait', async () => {
    const mortal = await startClamd();
    Object.assign(mortal.knobs, { streamBytesMax: 100, dies: true });
    const outcome = await createClamdScanner({ endpoint: mortal.endpoint }).scan(put('model.bin', Buffer.alloc(4_000_000)), never).catch((error: unknown) => error);
    await mortal.close();
    // Where its last words arrived before its end, they say that it has not looked.
    expect(outcome).toEqual(Array.isArray(outcome) ? [expect.objectContaining({ severity: 'not_scanned' })] : expect.objectContaining({ code: 'RUNTIME_UNAVAILABLE' }));
  });

  it.each(['stream: Can\'t allocate memory ERROR', 'stream: OK ERROR'])('that answers %j has not scanned', async (answer) => {
    clamd.knobs.answer = answer;
    expect(await report(put('a.txt', 'a'))).toMatchObject({ verdict: 'NOT_SCANNED' });
  });

  it.each(['', 'OK', 'stream: OKAY', 'HTTP/1.1 400 Bad Request'])('that answers %j is none', async (answer) => {
    clamd.knobs.answer = answer;
    await expect(report(put('a.txt', 'a'))).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  });

  it('that does not come to an end is none', async () => {
    clamd.knobs.answer = 'x'.repeat(5000);
    await expect(report(put('a.txt', 'a'))).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  });

  it('that says nothing is not waited for without end', async () => {
    clamd.knobs.answer = null;
    await expect(scanner({ idleMs: 50 }).scan(put('a.txt', 'a'), never)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  });

  it('is let go of when nobody waits for it any more', async () => {
    clamd.knobs.answer = null;
    const controller = new AbortController();
    const reason = new Error('enough');
    const scanning = scanner().scan(put('a.txt', 'a'), controller.signal);
    controller.abort(reason);
    await expect(scanning).rejects.toBe(reason);
  });

  it('that is away makes the download wait, or, set aside, leaves the file not scanned', async () => {
    const gone = await startClamd();
    await gone.close();
    const suite = new ScanSuite({ scanners: [createClamdScanner({ endpoint: gone.endpoint })], clock: systemClock, logger: silentLogger });
    const target = put('a.txt', 'a');
    await expect(suite.report(target, { isSetAside: false }, never)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
    expect(await suite.report(target, { isSetAside: true }, never)).toMatchObject({ verdict: 'NOT_SCANNED', findings: [{ rule: 'clamav.unavailable' }] });
  });

  it('is reached by a socket of the file system too', async () => {
    const path = join(folder.path, 'clamd.sock');
    const bySocket = await startClamd(path);
    const [finding] = await createClamdScanner({ endpoint: { kind: 'socket', path } }).scan(put('a.txt', eicar), never);
    await bySocket.close();
    expect(finding).toMatchObject({ severity: 'block' });
  });
});
