/** What the clients of a soak do, one thing after another, each as its users would and some as nobody should. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { SeededRandom } from '../test/support/seeded-random.ts';
import { readers, type Target } from './chat-readers.ts';

export type SoakContext = { target: Target; random: SeededRandom; modelIds: readonly string[] };
type Action = (context: SoakContext) => Promise<void>;

const json = (target: Target): Record<string, string> => ({ authorization: `Bearer ${target.key}`, 'content-type': 'application/json' });

/** Throws for an answer that is none of `expected`. */
async function call({ target }: SoakContext, route: string, expected: readonly number[], init: RequestInit = {}): Promise<Record<string, unknown>> {
  const response = await fetch(`${target.url}${route}`, { headers: json(target), ...init });
  const text = await response.text();
  if (!expected.includes(response.status)) throw new Error(`${init.method ?? 'GET'} ${route}: ${response.status} ${text.slice(0, 200)}`);
  return text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
}

const post = (body: unknown): RequestInit => ({ method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) });

async function chat(context: SoakContext): Promise<void> {
  const read = context.random.pick(Object.entries(readers).filter(([name]) => name !== 'direct'))[1];
  const tokens = 20 + context.random.below(80);
  const delays = await read({ ...context.target, tokens });
  if (delays.length !== tokens) throw new Error(`${delays.length} tokens of ${tokens}`);
}

/** Goes away amid the answer, without a word. */
async function leaveAnswer(context: SoakContext): Promise<void> {
  const gone = new AbortController();
  const response = await fetch(`${context.target.url}/api/chat/send`, { headers: json(context.target), signal: gone.signal, ...post({ deployment_id: context.target.deploymentId, message: 'tokens=100', stream: true }) });
  const reader = response.body?.getReader();
  await reader?.read();
  await sleep(context.random.below(500));
  gone.abort();
}

async function keepAnswer(context: SoakContext): Promise<void> {
  const sent = await call(context, '/api/chat/send', [200], post({ deployment_id: context.target.deploymentId, message: 'tokens=10', stream: false }));
  const id = sent['session_id'] as string;
  await call(context, `/api/chat/history/${id}`, [200]);
  await call(context, `/api/chat/export/${id}`, [200], post({ format: context.random.pick(['json', 'markdown', 'jsonl', 'html', 'text']) }));
  await call(context, `/api/chat/sessions/${id}`, [204], { method: 'DELETE' });
}

const subscriptions = ['subscription { systemResources(interval: 1) { collectedAt } }', 'subscription { downloadProgress { id status } }', 'subscription { deploymentStatus { id status } }'];

async function watchBySse(context: SoakContext): Promise<void> {
  const gone = new AbortController();
  const response = await fetch(`${context.target.url}/graphql`, { headers: { ...json(context.target), accept: 'text/event-stream' }, signal: gone.signal, ...post({ query: context.random.pick(subscriptions) }) });
  if (response.status !== 200) throw new Error(`subscription: ${response.status}`);
  const reader = response.body?.getReader();
  await Promise.race([reader?.read(), sleep(500)]);
  gone.abort();
}

/** Several subscriptions on one socket that breaks instead of closing. */
async function watchBySocket(context: SoakContext): Promise<void> {
  const socket = new WebSocket(`${context.target.url.replace('http', 'ws')}/graphql`, ['graphql-transport-ws'], { headers: { authorization: `Bearer ${context.target.key}` } });
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  socket.on('error', reject).on('open', () => socket.send('{"type":"connection_init"}'));
  socket.on('message', (data: Buffer) => {
    if (!data.toString('utf8').includes('connection_ack')) return;
    for (const [id, query] of subscriptions.entries()) socket.send(JSON.stringify({ id: String(id), type: 'subscribe', payload: { query } }));
    resolve(undefined);
  });
  await promise;
  await sleep(context.random.below(1_000));
  socket.terminate();
}

/** Throws for an answer with errors. */
async function ask(context: SoakContext, query: string, variables: object = {}): Promise<void> {
  const { errors } = await call(context, '/graphql', [200], post({ query, variables }));
  if (errors) throw new Error(JSON.stringify(errors));
}

async function look(context: SoakContext): Promise<void> {
  for (const route of ['/api/deployments/list', '/api/downloads/list', '/api/system/resources', '/v1/models', '/health', '/ready']) await call(context, route, [200]);
  await ask(context, '{ chatSessions(first: 5) { nodes { title messages(first: 2) { nodes { content } } } totalCount } deployments(first: 5) { nodes { name status } } viewer { owner role } }');
}

const nonsense = ['{', '[]', 'null', '{"query":1}', '{"query":"{ nope }"}', `{"query":"${'{a'.repeat(60)}"}`, '{"query":"query { viewer { owner role } }","variables":[]}', '\u0000'];

async function spoil(context: SoakContext): Promise<void> {
  await call(context, '/graphql', [200, 400, 415], post(context.random.pick(nonsense)));
  await call(context, '/api/chat/send', [400, 404, 422], post({ deployment_id: context.random.pick(['x', '', '../..']), message: 'x' }));
  await call(context, '/api/downloads/start', [400, 404, 422], post({ model_id: context.random.pick(['a b', 'huggingface:a/b/c/d', 'ollama:\u0001']) }));
  await call(context, '/v1/chat/completions', [400, 404], post({ model: 'nobody', messages: [] }));
}

/** A deployment's whole life. */
async function deploy(context: SoakContext): Promise<void> {
  const name = `soak-${Date.now().toString(36)}-${context.random.below(1_000_000)}`;
  const started = await call(context, '/api/deployments/start', [202], post({ runtime: 'remote', name, config: { base_url: context.target.engineUrl } }));
  const id = (started['deployment'] as { deployment_id: string }).deployment_id;
  await call(context, `/api/deployments/${id}/logs?tail=10`, [200]);
  await call(context, `/api/deployments/${id}/stop`, [202], { method: 'PUT' });
  await ask(context, 'mutation ($input: DeleteDeploymentInput!) { deleteDeployment(input: $input) { __typename } }', { input: { deploymentId: id } });
}

/** Fetches a model and deletes it again; one that another client is at is left to it. */
async function download(context: SoakContext): Promise<void> {
  const started = await call(context, '/api/downloads/start', [200, 201, 409], post({ model_id: context.random.pick(context.modelIds) }));
  const task = started['task'] as { task_id: string; status: string } | undefined;
  if (!task) return;
  if (context.random.below(3) === 0) await call(context, `/api/downloads/${task.task_id}`, [200, 204, 404, 409], { method: 'DELETE' });
  for (let looks = 0; looks < 100; looks += 1) {
    const answer = await call(context, `/api/downloads/${task.task_id}/status`, [200, 404]);
    const { status } = (answer['task'] ?? { status: 'gone' }) as { status: string };
    if (['completed', 'failed', 'cancelled', 'gone'].includes(status)) break;
    await sleep(100);
  }
}

/** Chat above all, as in the service's life. */
export const actions: Readonly<Record<string, { weight: number; run: Action }>> = {
  chat: { weight: 8, run: chat },
  look: { weight: 6, run: look },
  'leave an answer': { weight: 3, run: leaveAnswer },
  'send, export, delete': { weight: 3, run: keepAnswer },
  'watch by SSE': { weight: 2, run: watchBySse },
  'watch by socket': { weight: 2, run: watchBySocket },
  spoil: { weight: 2, run: spoil },
  deploy: { weight: 1, run: deploy },
  download: { weight: 1, run: download },
};
