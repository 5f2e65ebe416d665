/**
 * Fetches files with the transfer engine, in a process of its own: url, size, target, byte source (`auto` or `undici`),
 * how many at once, and `scan` to let the built-in scanners look into each. Says what it took as its last line.
 */
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { ScanSuite } from '../../src/domains/downloads/scan-suite.ts';
import { createBuiltInScanners } from '../../src/domains/downloads/scanners/built-in-scanners.ts';
import { ScanThread } from '../../src/domains/downloads/scanners/scan-thread.ts';
import { readBootId } from '../../src/domains/downloads/transfer/boot-id.ts';
import { defaultTransferSettings, transferFile } from '../../src/domains/downloads/transfer/file-transfer.ts';
import { HostSlots } from '../../src/domains/downloads/transfer/host-slots.ts';
import { createUndiciByteSource } from '../../src/domains/downloads/transfer/undici-byte-source.ts';
import { createByteSource } from '../../src/domains/downloads/transfer/choose-byte-source.ts';
import { systemClock } from '../../src/infrastructure/system-clock.ts';
import { silentLogger } from '../../test/support/silent-logger.ts';

const [url = '', size = '0', partPath = '', kind = 'auto', count = '1', scan = ''] = process.argv.slice(2);
const sizeBytes = Number(size);
const settings = { ...defaultTransferSettings };
const options = { connectTimeoutMs: 10_000, userAgent: 'llm-manager/bench' };
const bytes = kind === 'undici' ? createUndiciByteSource(options) : createByteSource(options);
const slots = new HostSlots(systemClock, settings.connections);
const bootId = readBootId();
const thread = new ScanThread();
const scans = new ScanSuite({ scanners: scan === 'scan' ? createBuiltInScanners(thread) : [], clock: systemClock, logger: silentLogger });

async function fetchOne(index: number): Promise<{ seconds: number; hashLagSeconds: number; sha256: string }> {
  const startedAt = performance.now();
  let fetchedAt = startedAt;
  const { sha256 } = await transferFile(
    {
      partPath: `${partPath}.${index}`,
      owner: String(index),
      identity: { modelId: 'bench:file', revision: '1', path: `file-${index}`, sizeBytes, sha256: null, gitSha1: null },
      locate: () => Promise.resolve({ url, headers: {}, etag: null, sizeBytes, revision: null, expiresAtMs: null, allowPrivate: true }),
      limits: [],
      onProgress: () => {},
      onVerifying: () => (fetchedAt = performance.now()),
    },
    { bytes, slots, clock: systemClock, logger: silentLogger, bootId, settings },
    new AbortController().signal,
  );
  if (scan === 'scan') await scans.report({ path: 'model.bin', file: `${partPath}.${index}`, sizeBytes, sourceStatus: null }, { isSetAside: false }, new AbortController().signal);
  const endedAt = performance.now();
  return { seconds: (endedAt - startedAt) / 1000, hashLagSeconds: (endedAt - fetchedAt) / 1000, sha256 };
}

await bootId;
const before = process.cpuUsage();
const loop = performance.eventLoopUtilization();
const delay = monitorEventLoopDelay({ resolution: 10 });
delay.enable();
const results = await Promise.all(Array.from({ length: Number(count) }, (_, index) => fetchOne(index)));
const { user, system } = process.cpuUsage(before);
console.log(
  JSON.stringify({
    kind,
    results,
    cpuSeconds: (user + system) / 1e6,
    loopBusy: performance.eventLoopUtilization(loop).utilization,
    loopDelayP99Ms: delay.percentile(99) / 1e6,
    rssMb: process.resourceUsage().maxRSS / 1024,
  }),
);
await Promise.all([bytes.close(), thread.close()]);
