import { spawnSync } from 'node:child_process';
import { symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { defaultScanLimits, type ScanLimits, ScanThread } from '../../../src/domains/downloads/scanners/scan-thread.ts';
import type { ScanJob } from '../../../src/domains/downloads/scanners/scan-worker.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';

let folder: TemporaryFolder;
let thread: ScanThread | null = null;

beforeAll(async () => {
  folder = await createTemporaryFolder('scan-thread');
});
afterEach(async () => {
  await thread?.close();
});
afterAll(() => folder.remove());

function scan(rule: ScanJob['rule'], path: string, file: string, options: { sizeBytes: number; limits?: Partial<ScanLimits>; signal?: AbortSignal }) {
  thread ??= new ScanThread({ ...defaultScanLimits, ...options.limits });
  return thread.scan({ rule, path, file, sizeBytes: options.sizeBytes }, options.signal ?? AbortSignal.timeout(25_000));
}

/** A pickle that only ever puts values on the stack: cheap to write, and it costs whoever follows it memory and time. */
function greedyPickle(bytes: number): string {
  const file = join(folder.path, `${bytes}.pkl`);
  writeFileSync(file, Buffer.alloc(bytes, 'N'));
  return file;
}

describe('the thread in which files are looked at', () => {
  it('refuses a file that takes more memory than it may, and looks at the next one', async () => {
    thread = new ScanThread({ ...defaultScanLimits, memoryMiB: 16 });
    const sizeBytes = 3_900_000;
    const greedy = join(folder.path, 'lists.pkl');
    writeFileSync(greedy, Buffer.alloc(sizeBytes, ']('));
    expect(await scan('pickle', 'lists.pkl', greedy, { sizeBytes })).toMatchObject([{ rule: 'scan.limits', severity: 'block' }]);
    const text = join(folder.path, 'a.md');
    writeFileSync(text, '# A');
    expect(await scan('format', 'a.md', text, { sizeBytes: 3 })).toEqual([]);
  });

  it('refuses a file that takes more time than it may, and looks at the next one', async () => {
    thread = new ScanThread({ ...defaultScanLimits, timeMs: 1 });
    expect(await scan('pickle', 'n.pkl', greedyPickle(3_000_000), { sizeBytes: 3_000_000 })).toMatchObject([{ rule: 'scan.limits', severity: 'block' }]);
  });

  it('stops at once when nobody wants to know any more', async () => {
    thread = new ScanThread();
    const stop = new AbortController();
    const scanning = scan('pickle', 'n.pkl', greedyPickle(3_000_000), { sizeBytes: 3_000_000, signal: stop.signal });
    const reason = new Error('enough');
    stop.abort(reason);
    await expect(scanning).rejects.toBe(reason);
  });

  it('never follows a link, waits for a pipe, or takes another file for the one that was fetched', async () => {
    thread = new ScanThread();
    const text = join(folder.path, 'b.md');
    writeFileSync(text, '# B');
    const link = join(folder.path, 'link.md');
    symlinkSync(text, link);
    await expect(scan('format', 'b.md', link, { sizeBytes: 3 })).rejects.toMatchObject({ code: 'ELOOP' });
    const pipe = join(folder.path, 'pipe.md');
    spawnSync('mkfifo', [pipe]);
    await expect(scan('format', 'b.md', pipe, { sizeBytes: 3 })).rejects.toThrow('not a plain file');
    truncateSync(text, 2);
    await expect(scan('format', 'b.md', text, { sizeBytes: 3 })).rejects.toThrow('in place of 3');
    await expect(scan('format', 'b.md', join(folder.path, 'nothing'), { sizeBytes: 3 })).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
