/** Small in-memory implementations of the ports that the GraphQL adapter calls; rows are made by hand in tests. */
import type { Access, ApiKeyView } from '../../../src/domains/access/types.ts';
import type { AuditEntryView, AuditTrail } from '../../../src/domains/access/audit/types.ts';
import type { Catalog } from '../../../src/domains/catalog/catalog.ts';
import type { ModelDetail } from '../../../src/domains/catalog/types.ts';
import type { Chat, ChatMessageView, ChatSessionView, ChatStreamEvent } from '../../../src/domains/chat/types.ts';
import type { Deployments, DeploymentView } from '../../../src/domains/deployments/types.ts';
import type { Downloads, DownloadTaskView, InstalledModels } from '../../../src/domains/downloads/types.ts';
import type { Alerts } from '../../../src/domains/system/alerts/types.ts';
import type { System } from '../../../src/domains/system/types.ts';
import type { GraphqlServices } from '../../../src/adapters/graphql/context.ts';
import type { AuditRecord } from '../../../src/shared/audit-log.ts';
import { AppError } from '../../../src/shared/errors.ts';
import type { Page, PageRequest } from '../../../src/shared/paging.ts';
import { PushStream } from '../../../src/shared/push-stream.ts';
import type { Principal, Role } from '../../../src/shared/principal.ts';
import { roles } from '../../../src/shared/principal.ts';
import type { ResourcesSample } from '../../../src/shared/resources-sample.ts';
import { deploymentRow, downloadRow, messageRow, modelRow, resourcesRow, sessionRow } from './rows.ts';

export function pageOf<T extends { id: string }>(all: readonly T[], { limit, cursor }: PageRequest): Page<T> {
  const start = cursor === undefined ? 0 : all.findIndex((item) => item.id === cursor) + 1;
  const items = all.slice(start, start + limit);
  const hasMore = start + limit < all.length;
  return { items, nextCursor: hasMore ? (items.at(-1)?.id ?? null) : null, total: all.length, cursors: items.map((item) => item.id) };
}

const unsupported = (): never => {
  throw new AppError('NOT_FOUND', 'The double holds nothing.');
};

/** Calls of batched ports, so that a test can count them. */
export type CallLog = { name: string; keys: readonly string[] }[];

export type World = {
  services: GraphqlServices;
  calls: CallLog;
  models: ModelDetail[];
  downloads: DownloadTaskView[];
  deployments: DeploymentView[];
  sessions: ChatSessionView[];
  messages: ChatMessageView[];
  /** Replace to make `startDownload` and others fail in a chosen way. */
  startDownload: Downloads['start'];
  /** What a chat's stream is made of. */
  stream: (...args: Parameters<Chat['stream']>) => AsyncIterable<ChatStreamEvent>;
  resources: () => Promise<ResourcesSample>;
  principals: Map<string, Principal>;
  /** Everything that was handed to the audit log. */
  audited: AuditRecord[];
  auditEntries: AuditEntryView[];
  keyOf: (role: Role) => string;
};

function need<T>(found: T | undefined, code: 'DOWNLOAD_NOT_FOUND' | 'DEPLOYMENT_NOT_FOUND' | 'CHAT_SESSION_NOT_FOUND' | 'CHAT_MESSAGE_NOT_FOUND' | 'MODEL_NOT_FOUND'): T {
  if (found === undefined) throw new AppError(code, `${code} by the double.`);
  return found;
}

function catalogOf(world: World): Catalog {
  const get: Catalog['get'] = async (id) => need(world.models.find((model) => model.id === id), 'MODEL_NOT_FOUND');
  return {
    search: async ({ limit, cursor }) => {
      const page = pageOf(world.models, { limit, cursor });
      return { items: page.items, cursors: page.cursors ?? [], nextCursor: page.nextCursor, total: page.total, sources: [{ source: 'huggingface', status: 'ok', cached: false, error: null }] };
    },
    get,
    refresh: get,
    categories: async () => [{ id: 'chat', name: 'Chat', sources: ['huggingface'] }],
    sources: () => [{ id: 'huggingface', name: 'Hugging Face', endpoint: 'https://hub.invalid', status: 'ok', error: null, sorts: ['downloads'] }],
    variantsOf: () => [],
  };
}

function downloadsOf(world: World): Downloads {
  const get = async (id: string) => need(world.downloads.find((task) => task.id === id), 'DOWNLOAD_NOT_FOUND');
  const removed = async (id: string) => {
    const task = await get(id);
    if (task.status === 'running') throw new AppError('INVALID_STATE', 'It has not ended.', { details: { status: 'running', allowed: ['completed', 'failed', 'cancelled'] } });
    return task;
  };
  return {
    start: (...args) => world.startDownload(...args),
    pause: get,
    resume: get,
    cancel: async (id) => ({ ...(await get(id)), status: 'cancelled' }),
    retry: get,
    prioritize: async (id, change) => ({ ...(await get(id)), ...change }),
    limits: () => ({ maxBytesPerSecond: null, parallel: 3, parallelPerSource: null, connectionsPerHost: 16 }),
    limit: (maxBytesPerSecond) => Promise.resolve({ maxBytesPerSecond, parallel: 3, parallelPerSource: null, connectionsPerHost: 16 }),
    remove: removed,
    find: async (id) => world.downloads.find((task) => task.id === id) ?? null,
    get,
    list: async (filter, page) => pageOf(world.downloads.filter((task) => !filter.status || task.status === filter.status), page),
    listByModels: async (modelIds) => {
      world.calls.push({ name: 'downloads.listByModels', keys: modelIds });
      return world.downloads.filter((task) => modelIds.includes(task.modelId));
    },
    async *watch(taskId) {
      const tasks = taskId ? [await get(taskId)] : world.downloads;
      yield { type: 'snapshot', tasks };
      for (const task of tasks) yield { type: 'progress', task: { ...task, downloadedBytes: task.downloadedBytes + 1 } };
    },
  };
}

function installedOf(world: World): InstalledModels {
  return {
    list: async () => ({ items: [], nextCursor: null, total: 0 }),
    find: async () => null,
    findByModel: async () => [],
    findByModels: async (modelIds) => {
      world.calls.push({ name: 'installed.findByModels', keys: modelIds });
      return [];
    },
    touch: async () => {},
    delete: unsupported,
    verify: unsupported,
    repair: unsupported,
    import: unsupported,
    adopt: async () => [],
    volumes: async () => [{ path: '/data', purpose: 'data', totalBytes: 2 ** 40, freeBytes: 2 ** 39, reservedBytes: 0, usedByModelsBytes: 0 }],
  };
}

function deploymentsOf(world: World): Deployments {
  const get = async (id: string) => need(world.deployments.find((deployment) => deployment.id === id), 'DEPLOYMENT_NOT_FOUND');
  return {
    start: async () => need(world.deployments[0], 'DEPLOYMENT_NOT_FOUND'),
    stop: get,
    restart: get,
    update: get,
    delete: get,
    find: async (id) => world.deployments.find((deployment) => deployment.id === id) ?? null,
    findByName: async () => null,
    get,
    list: async (_filter, page) => pageOf(world.deployments, page),
    findMany: async (ids) => {
      world.calls.push({ name: 'deployments.findMany', keys: ids });
      return world.deployments.filter((deployment) => ids.includes(deployment.id));
    },
    listByModels: async (modelIds) => {
      world.calls.push({ name: 'deployments.listByModels', keys: modelIds });
      return world.deployments.filter((deployment) => modelIds.includes(deployment.modelId ?? ''));
    },
    events: async () => ({ items: [], nextCursor: null, total: 0 }),
    logs: async () => ({
      items: [{ time: '2026-01-01T00:00:00.000Z', stream: 'supervisor', level: 'info', message: 'started', run: 1, cursor: 'c1' }],
      nextCursor: null,
      total: 1,
    }),
    async *followLogs() {
      yield { type: 'dropped', lines: 3 };
      yield { type: 'line', line: { time: '2026-01-01T00:00:00.000Z', stream: 'stdout', level: 'info', message: 'hello', run: 1, cursor: 'c2' } };
    },
    async *watch(id) {
      yield* world.deployments.filter((deployment) => id === null || deployment.id === id);
    },
    runtimes: async () => [],
    ownModels: () => Promise.resolve([]),
    fit: unsupported,
    target: unsupported,
    ensureReady: unsupported,
    usesInstalledModel: async () => false,
  };
}

function chatOf(world: World): Chat {
  const getSession = async (id: string, principal: Principal) =>
    need(world.sessions.find((session) => session.id === id && session.owner === principal.owner), 'CHAT_SESSION_NOT_FOUND');
  const getMessage = async (id: string) => need(world.messages.find((message) => message.id === id), 'CHAT_MESSAGE_NOT_FOUND');
  const messagesOf = (sessionId: string) => world.messages.filter((message) => message.sessionId === sessionId);
  const sent = async () => {
    const answer = need(world.messages[1], 'CHAT_MESSAGE_NOT_FOUND');
    return { session: need(world.sessions[0], 'CHAT_SESSION_NOT_FOUND'), userMessage: need(world.messages[0], 'CHAT_MESSAGE_NOT_FOUND'), answers: [answer] };
  };
  return {
    createSession: async (input, principal) => ({ ...sessionRow(), title: input.title ?? 'new', owner: principal.owner }),
    updateSession: (id, _change, principal) => getSession(id, principal),
    deleteSession: async (id, principal) => {
      await getSession(id, principal);
    },
    getSession,
    findSession: async (id, principal) => world.sessions.find((session) => session.id === id && session.owner === principal.owner) ?? null,
    listSessions: async (_filter, page, principal) => pageOf(world.sessions.filter((session) => session.owner === principal.owner), page),
    messages: async (sessionId, page) => pageOf(messagesOf(sessionId), page),
    firstMessages: async (sessionIds, limit) => {
      world.calls.push({ name: 'chat.firstMessages', keys: sessionIds });
      return new Map(sessionIds.map((id) => [id, pageOf(messagesOf(id), { limit })]));
    },
    findMessage: async (id) => world.messages.find((message) => message.id === id) ?? null,
    send: sent,
    regenerate: sent,
    edit: sent,
    stop: getMessage,
    stream: async (...args) => PushStream.of(world.stream(...args)),
    waitForEnd: getMessage,
    async *watchSession(id, principal) {
      yield { session: await getSession(id, principal), message: null };
    },
    import: async () => ({ sessions: [], skippedCount: 0 }),
    export: async (sessionId, format, principal) => {
      await getSession(sessionId, principal);
      return { fileName: `chat.${format}`, contentType: 'text/plain', chunks: (async function* () { yield 'one'; yield 'two'; })() };
    },
  };
}

function systemOf(world: World): System {
  return {
    resources: () => world.resources(),
    async *watch() {
      for (let index = 0; index < 3; index += 1) yield await world.resources();
    },
    history: () => [],
  };
}

function alertsOf(): Alerts {
  return {
    list: async (_filter, page) => pageOf([], page),
    find: async () => null,
    deliveriesOf: async () => [],
    countOpen: async () => new Map(),
    acknowledge: async () => unsupported(),
    async *watchRaised() {
      return;
    },
    rules: async () => [],
    findRule: async () => null,
    createRule: async () => unsupported(),
    updateRule: async () => unsupported(),
    deleteRule: async () => unsupported(),
    channels: () => ['log'],
  };
}

function accessOf(world: World): Access {
  const view = (id: string): ApiKeyView => ({ id, name: 'key', owner: 'somebody', role: 'USER', prefix: 'llmm_x', scopes: [], limits: { requestsPerMinute: null, tokensPerDay: null }, allowedDeployments: null, expiresAt: null, revokedAt: null, lastUsedAt: null, createdAt: new Date(0) });
  return {
    authenticate: async (credential) => world.principals.get(credential) ?? null,
    recheck: async (principal) => [...world.principals.values()].find((candidate) => candidate.keyId === principal.keyId) ?? null,
    createKey: async () => ({ key: view('01900000-0000-7000-8000-0000000000aa'), secret: 'llmm_secret' }),
    revokeKey: async (id) => view(id),
    rotateKey: async (id) => ({ key: view(id), secret: 'llmm_secret' }),
    listKeys: async () => [view('01900000-0000-7000-8000-0000000000aa')],
    ensureAdminKey: async (secret) => secret ?? 'llmm_admin',
  };
}

function auditTrailOf(world: World): AuditTrail {
  return {
    list: async (_filter, page) => pageOf(world.auditEntries, page),
    find: async (id) => world.auditEntries.find((entry) => entry.id === id) ?? null,
    async *watch() {
      yield* world.auditEntries;
    },
  };
}

async function* shortAnswer(messageId: string, after: number): AsyncIterable<ChatStreamEvent> {
  const pieces = ['one', 'two', 'three'];
  yield { type: 'start', messageId, deploymentId: null, index: after };
  for (const [index, text] of pieces.entries()) if (index > after) yield { type: 'token', messageId, deploymentId: null, index, text };
  yield { type: 'end', messageId, deploymentId: null, index: pieces.length - 1, status: 'completed', usage: null, finishReason: 'stop', error: null };
}

export function createWorld(): World {
  const keyOf = (role: Role): string => `llmm_${role.toLowerCase()}`;
  // The services close over the world that holds them.
  const world = {
    calls: [],
    audited: [],
    auditEntries: [],
    models: [modelRow(0), modelRow(1), modelRow(2)],
    downloads: [downloadRow(0), downloadRow(1)],
    deployments: [deploymentRow(0)],
    sessions: [sessionRow()],
    messages: [messageRow(0), messageRow(1)],
    resources: async () => resourcesRow(),
    keyOf,
    principals: new Map(roles.map((role, index) => [keyOf(role), { keyId: `01900000-0000-7000-8000-00000000000${index}`, owner: 'somebody', role }])),
  } as unknown as World;
  world.startDownload = async () => ({ task: world.downloads[0]!, created: true });
  world.stream = (messageId, after) => {
    need(world.messages.find((message) => message.id === messageId), 'CHAT_MESSAGE_NOT_FOUND');
    return shortAnswer(messageId, after);
  };
  world.services = {
    catalog: catalogOf(world),
    downloads: downloadsOf(world),
    installed: installedOf(world),
    storageJobs: { verify: unsupported, repair: unsupported, import: unsupported, adopt: async () => ({ installedModels: [], job: null }), find: async () => null, cancel: unsupported },
    deployments: deploymentsOf(world),
    chat: chatOf(world),
    system: systemOf(world),
    alerts: alertsOf(),
    access: accessOf(world),
    auditLog: { record: async (record) => void world.audited.push(record) },
    auditTrail: auditTrailOf(world),
    serverInfo: () => ({ name: 'llm-manager', version: '0', startedAt: new Date(0), database: 'none', events: 'in process', platform: 'test', nodeVersion: process.version }),
  };
  return world;
}
