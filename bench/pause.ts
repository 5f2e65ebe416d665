/**
 * `npm run bench:pause`: how long a pause takes while a download runs at full speed, from the request until it is
 * answered and until the storage has seen the last connection go. `--short` is the form for CI; exits 1 above the bound.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { seededContent } from '../test/support/hub/content.ts';
import { createHub } from '../test/support/hub/hub.ts';
import { startService } from '../test/support/service-process.ts';

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false }, pauses: { type: 'string' } } });
const MiB = 1024 * 1024;
const pauses = Number(values.pauses ?? (values.short ? 5 : 20));
const boundMs = 200;
/** Each of 16 connections: so slow that the file lasts for all pauses. */
const bytesPerSecond = MiB;

const hub = await createHub({ cdnBytesPerSecond: bytesPerSecond, repos: [{ id: 'pause/big', files: [{ path: 'model.bin', content: seededContent('pause', (values.short ? 128 : 512) * MiB) }] }] });
const folder = await mkdtemp(path.join(tmpdir(), 'llm-manager-pause-'));
const service = await startService({ dataDir: folder, env: { HF_ENDPOINT: hub.endpoint } });

async function call(method: string, route: string, body?: object): Promise<Record<string, unknown>> {
  const headers = { authorization: `Bearer ${service.key}`, 'content-type': 'application/json' };
  const response = await fetch(`${service.url}/api${route}`, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
  const answer = (await response.json()) as Record<string, unknown>;
  if (!response.ok) throw new Error(`${method} ${route}: ${JSON.stringify(answer)}`);
  return answer['task'] as Record<string, unknown>;
}

const openConnections = (): number => hub.requests.entries.filter(({ server, state }) => server === 'cdn' && state === 'open').length;
const rankOf = (numbers: readonly number[], share: number): number => [...numbers].sort((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * share))] ?? NaN;

async function flowing(id: string): Promise<void> {
  for (;;) {
    const task = await call('GET', `/downloads/${id}/status`);
    if (task['status'] === 'failed') throw new Error(JSON.stringify(task));
    if (task['status'] === 'running' && Number(task['speed_bytes_per_second']) > 0 && openConnections() >= 8) return;
    await sleep(50);
  }
}

try {
  const { task_id: id } = await call('POST', '/downloads/start', { model_id: 'huggingface:pause/big', include: ['model.bin'], override: ['unsafe_format'] });
  const answered: number[] = [];
  const released: number[] = [];
  for (let count = 0; count < pauses; count += 1) {
    await flowing(String(id));
    const startedAt = performance.now();
    await call('PUT', `/downloads/${String(id)}/pause`);
    answered.push(performance.now() - startedAt);
    await hub.requests.waitFor(() => openConnections() === 0);
    released.push(performance.now() - startedAt);
    hub.requests.clear();
    await call('PUT', `/downloads/${String(id)}/resume`);
  }
  await call('DELETE', `/downloads/${String(id)}`);
  const figures = (list: readonly number[]) => ({ p50: Math.round(rankOf(list, 0.5)), p95: Math.round(rankOf(list, 0.95)), max: Math.round(Math.max(...list)) });
  const faults = [...(rankOf(released, 0.95) > boundMs ? [`connections went only after ${Math.round(rankOf(released, 0.95))} ms`] : [])];
  console.log(JSON.stringify({ bench: 'pause', pauses, answeredMs: figures(answered), releasedMs: figures(released), load: loadavg()[0], faults }));
  if (!values.short && faults.length > 0) process.exitCode = 1;
} finally {
  await service.end('SIGTERM');
  await hub.close();
  await rm(folder, { recursive: true, force: true });
}
