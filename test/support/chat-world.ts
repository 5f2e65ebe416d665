import type { Chat, ChatMessageView, ChatStreamEvent, SendMessage } from '../../src/domains/chat/types.ts';
import { createChat, type ChatDeps, type ChatModule } from '../../src/domains/chat/create-chat.ts';
import type { DeploymentView, InferenceTarget, UseOutcome } from '../../src/domains/deployments/types.ts';
import { systemClock } from '../../src/infrastructure/system-clock.ts';
import { createStreamingHttp } from '../../src/infrastructure/http/streaming-http.ts';
import { AppError } from '../../src/shared/errors.ts';
import type { EventBus } from '../../src/shared/event-bus.ts';
import { newId } from '../../src/shared/ids.ts';
import type { Instances } from '../../src/shared/instances.ts';
import { createTokenBudget } from '../../src/domains/access/token-budget.ts';
import { TokenUsageRepository } from '../../src/domains/access/token-usage.repository.ts';
import type { Principal } from '../../src/shared/principal.ts';
import type { TokenStream } from '../../src/shared/token-stream.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { startCompletionsServer, type CompletionsServer } from './completions-server.ts';
import { Society } from './instances.ts';
import { openTestLive, type TestLive } from './live.ts';
import { silentLogger } from './silent-logger.ts';

export const never: AbortSignal = new AbortController().signal;

export function principalOf(owner: string, role: Principal['role'] = 'USER'): Principal {
  return { keyId: newId(), owner, role };
}

/** A running deployment, as chat sees it; `lose` is what the supervisor does when its engine ends. */
export type FakeDeployment = { view: DeploymentView; target: InferenceTarget; /** How each use of it ended. */ releases: UseOutcome[]; lose(reason: Error): void };

export type ChatWorld = {
  chat: Chat;
  module: ChatModule;
  database: TestDatabase;
  server: CompletionsServer;
  events: EventBus;
  tokenStream: TokenStream;
  /** All service processes of this world. */
  society: Society;
  instances: Instances;
  deployment: FakeDeployment;
  deployments(): DeploymentView[];
  addDeployment(change?: Partial<DeploymentView>, target?: Partial<InferenceTarget>): FakeDeployment;
  /** A further service process on the same database, with a stream and events of its own. */
  another(change?: Partial<ChatDeps>): Promise<{ chat: Chat; module: ChatModule; tokenStream: TokenStream; instances: Instances }>;
  close(): Promise<void>;
};

/** Chat on the real database and a real engine double, without the rest of the service. */
export async function createChatWorld(change: Partial<ChatDeps> = {}): Promise<ChatWorld> {
  const [database, server] = await Promise.all([createTestDatabase(), startCompletionsServer()]);
  const http = createStreamingHttp();
  const deployments = new Map<string, FakeDeployment>();
  const modules: ChatModule[] = [];
  const lives: TestLive[] = [];
  const installationId = newId();
  const society = new Society();
  const another = async (own: Partial<ChatDeps> = {}) => {
    const live = await openTestLive({ installationId });
    lives.push(live);
    const { events, tokenStream } = live;
    const deps: ChatDeps = { em: database.orm.em, deployments: deploymentsOf(deployments), tokenStream, events, clock: systemClock, logger: silentLogger, instances: society.join(), http: http.request, budget: createTokenBudget({ repository: new TokenUsageRepository(database.orm.em), clock: systemClock, logger: silentLogger }) };
    const module = createChat({ ...deps, ...own });
    modules.push(module);
    return { chat: module.chat, module, tokenStream, events, instances: own.instances ?? deps.instances };
  };
  const addDeployment = (view: Partial<DeploymentView> = {}, target: Partial<InferenceTarget> = {}): FakeDeployment => {
    const deployment = fakeDeployment(server.baseUrl, view, target);
    deployments.set(deployment.view.id, deployment);
    return deployment;
  };
  const first = await another(change);
  return {
    ...first,
    society,
    database,
    server,
    deployment: addDeployment(),
    deployments: () => [...deployments.values()].map(({ view }) => view),
    addDeployment,
    another,
    close: async () => {
      const over = AbortSignal.abort();
      await Promise.all(modules.map((module) => module.stop(over)));
      await http.close();
      await server.close();
      await Promise.all(lives.map((live) => live.close()));
      await database.drop();
    },
  };
}

function deploymentsOf(deployments: ReadonlyMap<string, FakeDeployment>): ChatDeps['deployments'] {
  return {
    find: async (id) => deployments.get(id)?.view ?? null,
    findByName: async (name) => [...deployments.values()].find(({ view }) => view.name === name)?.view ?? null,
    ensureReady: async (id, signal) => {
      signal.throwIfAborted();
      const found = deployments.get(id);
      if (!found) throw new AppError('DEPLOYMENT_NOT_FOUND', 'There is no such deployment.');
      return { ...found.target, release: (outcome) => void found.releases.push(outcome) };
    },
  };
}

function fakeDeployment(baseUrl: string, change: Partial<DeploymentView>, target: Partial<InferenceTarget>): FakeDeployment {
  const lost = new AbortController();
  const id = change.id ?? newId();
  const name = `model-${id.slice(-6)}`;
  const view: DeploymentView = {
    id,
    name,
    modelId: 'huggingface:org/model',
    variant: null,
    installedModelId: null,
    runtime: 'llama-cpp',
    status: 'running',
    desiredStatus: 'running',
    config: {},
    endpoint: baseUrl,
    health: { status: 'healthy', checkedAt: null, consecutiveFailures: 0, message: null },
    resources: { cpuPercent: null, memoryBytes: null, gpuMemoryBytes: null },
    restarts: 0,
    runs: 1,
    lastExit: null,
    error: null,
    createdAt: new Date(),
    startedAt: new Date(),
    ...change,
  };
  return {
    view,
    target: { deploymentId: id, name, modelId: view.modelId, baseUrl, model: name, headers: { authorization: 'Bearer engine-key' }, contextSize: null, lost: lost.signal, ...target },
    releases: [],
    lose: (reason) => lost.abort(reason),
  };
}

/** Sends and waits for the only answer's end. */
export async function ask(world: { chat: Chat }, input: SendMessage, principal: Principal): Promise<{ sessionId: string; answer: ChatMessageView }> {
  const sent = await world.chat.send(input, principal, never);
  const answer = await world.chat.waitForEnd(sent.answers[0]!.id, principal, never);
  return { sessionId: sent.session.id, answer };
}

export async function collect<T>(items: AsyncIterable<T> | Promise<AsyncIterable<T>>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of await items) all.push(item);
  return all;
}

/** Reads on by itself; resolves once the first item is there. */
export async function follow<T>(items: AsyncIterable<T> | Promise<AsyncIterable<T>>): Promise<{ all: Promise<T[]> }> {
  const iterator = (await items)[Symbol.asyncIterator]();
  const first = await iterator.next();
  const rest = collect({ [Symbol.asyncIterator]: () => iterator });
  return { all: first.done ? rest : rest.then((others) => [first.value, ...others]) };
}

export function textOf(events: readonly ChatStreamEvent[]): string {
  return events.map((event) => (event.type === 'token' ? event.text : '')).join('');
}

/** Throws unless positions are gapless from `after + 1` and the last event is the end. */
export function assertGapless(events: readonly ChatStreamEvent[], after = -1): void {
  const tokens = events.filter((event) => event.type === 'token');
  for (const [place, { index }] of tokens.entries()) if (index !== after + 1 + place) throw new Error(`index ${index} where ${after + 1 + place} was due`);
  if (events[0]?.type !== 'start' || events.at(-1)?.type !== 'end') throw new Error('not from start to end');
}
