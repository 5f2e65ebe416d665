/**
 * `npm run bench:api`: 100 connections of mixed reads and writes by REST and GraphQL against the service, and a bare
 * node:http server in the same run as the yardstick. Prints one JSON line with figures; exits 1 above the floor.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import autocannon from 'autocannon';
import { startService } from '../test/support/service-process.ts';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '15' }, connections: { type: 'string', default: '100' } } });
const seconds = Number(values.seconds);
const connections = Number(values.connections);
/** What users are promised. */
const floorP99Ms = 500;
const aimP99Ms = 100;

type Figures = { requests: number; perSecond: number; p50Ms: number; p99Ms: number; maxMs: number; errors: number; non2xx: number };

function figuresOf({ requests, latency, errors, non2xx }: autocannon.Result): Figures {
  return { requests: requests.total, perSecond: Math.round(requests.average), p50Ms: latency.p50, p99Ms: latency.p99, maxMs: latency.max, errors, non2xx };
}

async function measureBare(): Promise<Figures> {
  const server = createServer((req, res) => {
    req.resume().on('end', () => res.writeHead(200, { 'content-type': 'application/json' }).end('{"items":[],"next_cursor":null,"total":0}'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const result = await autocannon({ url: `http://127.0.0.1:${port}`, connections, duration: Math.min(5, seconds) });
  server.close();
  return figuresOf(result);
}

function mixedRequests(sessionId: string): autocannon.Request[] {
  const graphql = (query: string, variables: object = {}): autocannon.Request => ({ method: 'POST', path: '/graphql', body: JSON.stringify({ query, variables }) });
  return [
    { method: 'GET', path: '/api/downloads/list' },
    { method: 'GET', path: '/api/deployments/list' },
    { method: 'GET', path: '/api/system/resources' },
    { method: 'GET', path: `/api/chat/history/${sessionId}` },
    { method: 'POST', path: '/api/chat/sessions/create', body: JSON.stringify({ title: 'bench', system_prompt: 'Be brief.' }) },
    graphql('{ downloadTasks(first: 20) { nodes { taskId status progress } totalCount } }'),
    graphql('{ deployments(first: 20) { nodes { deploymentId name status health { status } } } }'),
    graphql('{ chatSessions(first: 20) { nodes { sessionId title messageCount } } }'),
    graphql('{ systemResources { cpu { percent } memory { availableBytes } } viewer { owner role } }'),
    graphql('mutation ($input: CreateChatSessionInput!) { createChatSession(input: $input) { __typename } }', { input: { title: 'bench' } }),
  ];
}

async function measureService(): Promise<Figures & { idleRssMiB: number; endRssMiB: number }> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'llmm-bench-'));
  const service = await startService({ dataDir, env: { LLM_MANAGER_LOG_LEVEL: 'warn' } });
  try {
    const headers = { authorization: `Bearer ${service.key}`, 'content-type': 'application/json' };
    const created = await fetch(`${service.url}/api/chat/sessions/create`, { method: 'POST', headers, body: JSON.stringify({ title: 'bench' }) });
    const { session } = (await created.json()) as { session: { session_id: string } };
    const rssMiB = async (): Promise<number> => {
      const answer = await fetch(`${service.url}/api/system/resources`, { headers });
      return Math.round(((await answer.json()) as { process: { memory_bytes: number } }).process.memory_bytes / 1024 ** 2);
    };
    const idleRssMiB = await rssMiB();
    const run = (duration: number): Promise<autocannon.Result> => autocannon({ url: service.url, connections, duration, headers, requests: mixedRequests(session.session_id) });
    await run(Math.min(4, seconds));
    const result = await run(seconds);
    return { ...figuresOf(result), idleRssMiB, endRssMiB: await rssMiB() };
  } finally {
    await service.end('SIGTERM');
    await rm(dataDir, { recursive: true, force: true });
  }
}

const bare = await measureBare();
const service = await measureService();
const ratio = Math.round((bare.perSecond / service.perSecond) * 10) / 10;
console.log(JSON.stringify({ bench: 'api', seconds, connections, bare, service, bareToService: ratio, aimP99Ms, floorP99Ms }));
const isGood = service.p99Ms <= floorP99Ms && service.errors === 0 && service.non2xx === 0;
process.exit(isGood ? 0 : 1);
