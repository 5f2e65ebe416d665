/**
 * `npm run bench:chat`: the delay that this service adds to each token, from the engine's write to the reader's read,
 * for every transport, beside the same reader on the engine itself in the same round. Also requests a second of the
 * gateway beside a bare node:http proxy. Prints one JSON line a measurement; exits 1 when a token is missing.
 * With REDIS_URL the service runs on Redis.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { Agent, createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import autocannon from 'autocannon';
import { startService, type ServiceProcess } from '../test/support/service-process.ts';
import { readers, type Target } from './chat-readers.ts';

const { values } = parseArgs({
  options: { streams: { type: 'string', default: '1,50,200' }, tokens: { type: 'string', default: '300' }, rounds: { type: 'string', default: '1' }, only: { type: 'string', default: '' }, seconds: { type: 'string', default: '5' } },
});
const tokens = Number(values.tokens);
const names = Object.keys(readers).filter((name) => values.only === '' || name === 'direct' || values.only.split(',').includes(name));

type Figures = { streams: number; transport: string; tokens: number; missing: number; p50Ms: number; p99Ms: number; maxMs: number; firstThirdP50Ms: number; lastThirdP50Ms: number; /** Of the service, which tells more than the delay where the machine is busy otherwise. */ cpuUsPerToken: number };

const at = (sorted: readonly number[], share: number): number => Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN) * 100) / 100;
const sortedOf = (list: readonly number[]): number[] => [...list].sort((a, b) => a - b);

/** Processor time of a process so far. */
async function cpuMsOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  // In ticks of 10 ms: user and system.
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function measure(transport: string, streams: number, target: Target, pid: number): Promise<Figures> {
  const read = readers[transport];
  if (!read) throw new Error(`no transport ${transport}`);
  const cpuBeforeMs = await cpuMsOf(pid);
  const each = await Promise.all(Array.from({ length: streams }, () => read(target)));
  const cpuMs = (await cpuMsOf(pid)) - cpuBeforeMs;
  const all = sortedOf(each.flat());
  const third = (from: number, to: number): number => at(sortedOf(each.flatMap((delays) => delays.slice(Math.floor(delays.length * from), Math.ceil(delays.length * to)))), 0.5);
  return { streams, transport, tokens: all.length, missing: streams * tokens - all.length, p50Ms: at(all, 0.5), p99Ms: at(all, 0.99), maxMs: at(all, 1), firstThirdP50Ms: third(0, 1 / 3), lastThirdP50Ms: third(2 / 3, 1), cpuUsPerToken: Math.round((cpuMs * 1000) / all.length) };
}

async function startEngine(): Promise<{ url: string; child: ChildProcess }> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', fileURLToPath(new URL('fake-engine.ts', import.meta.url))], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  return { url: `http://127.0.0.1:${port.toString('utf8').trim()}`, child };
}

async function deploy(service: ServiceProcess, engineUrl: string): Promise<string> {
  const headers = { authorization: `Bearer ${service.key}`, 'content-type': 'application/json' };
  const started = await fetch(`${service.url}/api/deployments/start`, { method: 'POST', headers, body: JSON.stringify({ runtime: 'remote', name: 'fake', config: { base_url: engineUrl } }) });
  const { deployment } = (await started.json()) as { deployment: { deployment_id: string } };
  for (;;) {
    const answer = await fetch(`${service.url}/api/deployments/${deployment.deployment_id}/status`, { headers });
    if (((await answer.json()) as { deployment: { status: string } }).deployment.status === 'running') return deployment.deployment_id;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** What the least that a proxy in Node can do costs. */
async function startBareProxy(engineUrl: string): Promise<{ url: string; close: () => void }> {
  const agent = new Agent({ keepAlive: true });
  const server = createServer((req, res) => {
    const upstream = send(`${engineUrl}${req.url ?? ''}`, { method: req.method ?? 'POST', agent, headers: { 'content-type': 'application/json', 'content-length': req.headers['content-length'] } }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, { 'content-type': answer.headers['content-type'] });
      answer.pipe(res);
    });
    upstream.on('error', () => res.destroy());
    req.pipe(upstream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => void server.close() };
}

async function measureRequests(url: string, headers: Record<string, string>): Promise<{ perSecond: number; p99Ms: number; non2xx: number }> {
  const body = JSON.stringify({ model: 'fake', messages: [{ role: 'user', content: 'Hi' }] });
  const result = await autocannon({ url: `${url}/v1/chat/completions`, method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body, connections: 50, duration: Number(values.seconds) });
  return { perSecond: Math.round(result.requests.average), p99Ms: result.latency.p99, non2xx: result.non2xx + result.errors };
}

const dataDir = await mkdtemp(path.join(tmpdir(), 'llmm-bench-'));
const engine = await startEngine();
const redis = process.env['REDIS_URL'];
const service = await startService({ dataDir, env: { LLM_MANAGER_LOG_LEVEL: 'warn', ...(process.env['BENCH_NODE_OPTIONS'] !== undefined && { NODE_OPTIONS: process.env['BENCH_NODE_OPTIONS'] }), ...(redis !== undefined && { REDIS_URL: redis }) } });
let isWhole = true;
try {
  const target: Target = { engineUrl: engine.url, url: service.url, key: service.key, deploymentId: await deploy(service, engine.url), model: 'fake', tokens };
  // What is compiled on first use is not measured.
  for (const name of names) await measure(name, 2, { ...target, tokens: 50 }, service.pid);
  for (const streams of values.streams.split(',').map(Number)) {
    for (let round = 1; round <= Number(values.rounds); round += 1) {
      for (const name of names) {
        const figures = await measure(name, streams, target, service.pid);
        isWhole &&= figures.missing === 0;
        console.log(JSON.stringify({ bench: 'chat', redis: redis !== undefined, round, ...figures }));
      }
    }
  }
  if (Number(values.seconds) > 0) {
    const bare = await startBareProxy(engine.url);
    const headers = { authorization: `Bearer ${service.key}` };
    await measureRequests(service.url, headers);
    console.log(JSON.stringify({ bench: 'chat requests', engine: await measureRequests(engine.url, {}), bareProxy: await measureRequests(bare.url, {}), gateway: await measureRequests(service.url, headers) }));
    bare.close();
  }
} finally {
  await service.end('SIGTERM');
  engine.child.kill();
  await rm(dataDir, { recursive: true, force: true });
}
process.exit(isWhole ? 0 : 1);
