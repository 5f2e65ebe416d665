import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  getNamedType, getNullableType, isEnumType, isInputObjectType, isLeafType, isListType, isNonNullType, parse,
  type ExecutionResult, type GraphQLField, type GraphQLInputType,
} from 'graphql';
import * as z from 'zod';
import { restRoutes } from '../../../src/adapters/rest/routes/table.ts';
import type { RestRoute } from '../../../src/adapters/rest/route.ts';
import { newId } from '../../../src/shared/ids.ts';
import { ask } from '../../support/chat-world.ts';
import { startChatFront, type ChatFront } from '../../support/chat-front.ts';
import { openJsonSocket } from '../../support/json-socket.ts';

type Subject = 'session' | 'message';
/** What each id belongs to; null: to nobody. */
type Rows = Readonly<Record<string, Subject | null>>;

const graphqlRows: Rows = {
  'query chatSession id': 'session',
  'query node id': 'session',
  'query nodes ids': 'session',
  'mutation updateChatSession input.sessionId': 'session',
  'mutation deleteChatSession input.sessionId': 'session',
  'mutation exportChatSession input.sessionId': 'session',
  'mutation sendChatMessage input.sessionId': 'session',
  'mutation sendChatMessage input.parentId': 'message',
  'mutation regenerateChatMessage input.messageId': 'message',
  'mutation editChatMessage input.messageId': 'message',
  'mutation stopChatMessage input.messageId': 'message',
  'subscription chatStream messageId': 'message',
  'subscription chatSessionUpdated id': 'session',
  ...Object.fromEntries(
    [
      'query model id', 'query installedModel id', 'query storageJob id', 'query downloadTask id', 'query deployment id', 'mutation pauseDownload input.taskId', 'mutation resumeDownload input.taskId',
      'mutation cancelDownload input.taskId', 'mutation retryDownload input.taskId', 'mutation prioritizeDownload input.taskId', 'mutation removeDownloadTask input.taskId',
      'mutation verifyInstalledModel input.installedModelId', 'mutation repairInstalledModel input.installedModelId', 'mutation deleteInstalledModel input.installedModelId',
      'mutation startDeployment input.deploymentId', 'mutation stopDeployment input.deploymentId', 'mutation restartDeployment input.deploymentId',
      'mutation updateDeployment input.deploymentId', 'mutation deleteDeployment input.deploymentId', 'mutation createChatSession input.deploymentIds',
      'mutation updateChatSession input.deploymentIds', 'mutation sendChatMessage input.deploymentIds', 'mutation revokeApiKey input.keyId', 'mutation rotateApiKey input.keyId',
      'mutation cancelStorageJob input.id', 'mutation updateAlertRule input.ruleId', 'mutation deleteAlertRule input.ruleId', 'mutation acknowledgeAlert input.alertId',
      'subscription downloadProgress taskId', 'subscription deploymentStatus id', 'subscription deploymentLogs id',
    ].map((name) => [name, null]),
  ),
};

const restRows: Rows = {
  'POST /chat/send session_id': 'session',
  'GET /chat/history/{session_id} session_id': 'session',
  'DELETE /chat/sessions/{session_id} session_id': 'session',
  'POST /chat/export/{session_id} session_id': 'session',
  ...Object.fromEntries(
    [
      'GET /models/{model_id+}/info model_id', 'POST /downloads/start model_id', 'PUT /downloads/{task_id}/pause task_id', 'PUT /downloads/{task_id}/resume task_id', 'DELETE /downloads/{task_id} task_id',
      'GET /downloads/{task_id}/status task_id', 'GET /downloads/list model_id', 'POST /deployments/start model_id', 'POST /deployments/start deployment_id', 'PUT /deployments/{deployment_id}/stop deployment_id',
      'PUT /deployments/{deployment_id}/restart deployment_id', 'GET /deployments/list model_id', 'GET /deployments/{deployment_id}/status deployment_id', 'GET /deployments/{deployment_id}/logs deployment_id',
      'POST /chat/sessions/create deployment_id', 'POST /chat/sessions/create deployment_ids', 'POST /chat/send deployment_id', 'POST /chat/send deployment_ids',
    ].map((name) => [name, null]),
  ),
};

let front: ChatFront;
let anna: string;
/** May do everything, and owns none of it. */
let berta: string;
beforeAll(async () => {
  front = await startChatFront();
  anna = front.keyOf('anna');
  berta = front.keyOf('berta', 'ADMIN');
});
afterAll(async () => front.close());

type Own = Record<Subject, string> & { question: string };

async function conversation(key: string = anna): Promise<Own> {
  const { sessionId, answer } = await ask(front.world, { deploymentIds: [front.world.deployment.view.id], message: 'x' }, front.principal(key));
  return { session: sessionId, message: answer.id, question: answer.parentId! };
}

/** Which id of a conversation a field takes, where it matters. */
function idFor(name: string, subject: Subject, own: Own): string {
  if (name.startsWith('query node')) return Buffer.from(`ChatSession:${own[subject]}`).toString('base64');
  return name.startsWith('mutation editChatMessage') ? own.question : own[subject];
}

type Place = { path: readonly string[]; type: GraphQLInputType };

/** Every place of a field's arguments that takes ids. */
function idPlaces(places: readonly Place[]): string[][] {
  return places.flatMap(({ path, type }) => {
    const named = getNamedType(type);
    if (named.name === 'ID') return [[...path]];
    // Input objects that hold themselves would never end; none does.
    return isInputObjectType(named) && path.length < 6 ? idPlaces(Object.values(named.getFields()).map((field) => ({ path: [...path, field.name], type: field.type }))) : [];
  });
}

function fieldsOf(graphql: ChatFront['graphql']): { kind: string; field: GraphQLField<unknown, unknown> }[] {
  const { schema } = graphql;
  const kinds = { query: schema.getQueryType(), mutation: schema.getMutationType(), subscription: schema.getSubscriptionType() };
  return Object.entries(kinds).flatMap(([kind, type]) => Object.values(type?.getFields() ?? {}).map((field) => ({ kind, field })));
}

function allGraphqlPlaces(): string[] {
  return fieldsOf(front.graphql).flatMap(({ kind, field }) => idPlaces(field.args.map((argument) => ({ path: [argument.name], type: argument.type }))).map((path) => `${kind} ${field.name} ${path.join('.')}`));
}

/** A literal with what is required, and `id` at `path`. */
function literalOf(type: GraphQLInputType, path: readonly string[] | null, id: string): string {
  const inner = getNullableType(type);
  if (isListType(inner)) return `[${literalOf(inner.ofType, path, id)}]`;
  if (isEnumType(inner)) return inner.getValues()[0]!.name;
  if (isInputObjectType(inner)) {
    const given = Object.values(inner.getFields()).filter((field) => field.name === path?.[0] || isNonNullType(field.type));
    return `{ ${given.map((field) => `${field.name}: ${literalOf(field.type, field.name === path?.[0] ? path.slice(1) : null, id)}`).join(', ')} }`;
  }
  if (inner.name === 'ID') return JSON.stringify(path ? id : newId());
  return { Int: '1', Float: '1', Boolean: 'false' }[inner.name] ?? '"x"';
}

function documentOf(name: string, id: string, inSession: string): ReturnType<typeof parse> {
  const [kind = '', fieldName = '', place = ''] = name.split(' ');
  const { field } = fieldsOf(front.graphql).find((candidate) => candidate.kind === kind && candidate.field.name === fieldName)!;
  const path = place.split('.');
  const args = field.args.filter((argument) => argument.name === path[0] || isNonNullType(argument.type));
  const given = args.map((argument) => `${argument.name}: ${literalOf(argument.type, argument.name === path[0] ? path.slice(1) : null, id)}`);
  const type = getNamedType(field.type);
  const refusal = type.name.endsWith('Result') ? ' ... on UserError { code message }' : '';
  return parse(`${kind} { ${fieldName}(${given.join(', ').replace('parentId:', `sessionId: "${inSession}", parentId:`)})${isLeafType(type) ? '' : ` { __typename${refusal} }`} }`);
}

/** What came of it, without what differs between two requests. */
async function runGraphql(name: string, id: string, by: { key: string; inSession: string }): Promise<string> {
  const stop = new AbortController();
  const caller = { principal: front.principal(by.key), requestId: 'r', signal: stop.signal };
  const document = documentOf(name, id, by.inSession) as Parameters<ChatFront['graphql']['execute']>[0];
  const result = name.startsWith('subscription') ? await front.graphql.subscribe(document, {}, caller) : await front.graphql.execute(document, {}, caller);
  stop.abort();
  if (Symbol.asyncIterator in result) return 'a stream';
  const { data, errors } = result as ExecutionResult;
  return JSON.stringify({ data, errors: errors?.map(({ message, extensions }) => [extensions['code'], message]) });
}

function isMissing(seen: string): boolean {
  return /CHAT_(SESSION|MESSAGE)_NOT_FOUND|"node":null|"nodes":\[null\]/.test(seen);
}

function subjectsOf(rows: Rows): [string, Subject][] {
  return Object.entries(rows).flatMap(([name, subject]) => (subject === null ? [] : [[name, subject] as [string, Subject]]));
}

describe('every GraphQL field that takes an id', () => {
  it('has a row here', () => {
    expect(allGraphqlPlaces().sort()).toEqual(Object.keys(graphqlRows).sort());
  });

  it.each(subjectsOf(graphqlRows))("%s: another owner's %s is as missing as one that never was", async (name, subject) => {
    const own = await conversation();
    // A message is looked for in a session of the caller's own, where a field names both.
    const other = { key: berta, inSession: (await conversation(berta)).session };
    const foreign = await runGraphql(name, idFor(name, subject, own), other);
    const unknown = { session: newId(), message: newId(), question: newId() };
    expect(isMissing(foreign)).toBe(true);
    expect(foreign).toBe(await runGraphql(name, idFor(name, subject, unknown), other));
    // Its owner finds it, so it was there.
    expect(isMissing(await runGraphql(name, idFor(name, subject, own), { key: anna, inSession: own.session }))).toBe(false);
  });
});

function idNamesOf({ path, query, body }: RestRoute): string[] {
  const inPath = [...path.matchAll(/\{(\w+)\+?\}/g)].map(([, name]) => name!);
  const given = [query, body].flatMap((schema) => (schema instanceof z.ZodObject ? Object.keys(schema.shape) : []));
  return [...inPath, ...given.filter((name) => /(^|_)ids?$/.test(name))];
}

async function runRest(name: string, id: string, key: string): Promise<{ status: number; code: unknown }> {
  const [method = '', path = '', field = ''] = name.split(' ');
  const isInPath = path.includes(`{${field}}`);
  const body: Record<string, unknown> = path.includes('export') ? { format: 'json' } : path.includes('send') ? { message: 'x' } : {};
  if (!isInPath) body[field] = id;
  const { status, body: answer } = await front.ask(key, `${method} /api${path.replace(`{${field}}`, id)}`, method === 'POST' ? body : undefined);
  return { status, code: (answer as { error?: { code: string } } | null)?.error?.code };
}

describe('every REST route that takes an id', () => {
  it('has a row here', () => {
    expect(restRoutes.flatMap((route) => idNamesOf(route).map((name) => `${route.method} ${route.path} ${name}`)).sort()).toEqual(Object.keys(restRows).sort());
  });

  it.each(subjectsOf(restRows))("%s: another owner's %s is as missing as one that never was", async (name, subject) => {
    const own = await conversation();
    const foreign = await runRest(name, own[subject], berta);
    expect(foreign).toEqual({ status: 404, code: 'CHAT_SESSION_NOT_FOUND' });
    expect(foreign).toEqual(await runRest(name, newId(), berta));
    expect((await runRest(name, own[subject], anna)).status).toBeLessThan(300);
  });

  it("a place in another owner's answer is no place to go on from", async () => {
    const { message } = await conversation();
    const resume = (key: string) => front.ask(key, 'POST /api/chat/send', { message: 'x', stream: true }, { 'last-event-id': `${message}:0` });
    expect(await resume(berta)).toMatchObject({ status: 404, body: { error: { code: 'CHAT_MESSAGE_NOT_FOUND' } } });
    expect((await resume(anna)).status).toBe(200);
  });
});

describe('the ways beside them', () => {
  it("the socket says of another owner's session and message that there are none", async () => {
    const own = await conversation();
    const socket = await openJsonSocket(`${front.wsUrl}/ws/chat/stream`, { authorization: `Bearer ${berta}` });
    const asked = [
      [{ type: 'send', request_id: 'r', session_id: own.session, message: 'x' }, 'CHAT_SESSION_NOT_FOUND'],
      [{ type: 'resume', message_id: own.message }, 'CHAT_MESSAGE_NOT_FOUND'],
      [{ type: 'stop', message_id: own.message }, 'CHAT_MESSAGE_NOT_FOUND'],
    ] as const;
    for (const [message, code] of asked) {
      socket.send(message);
      expect(await socket.next()).toMatchObject({ type: 'error', error: { code } });
    }
    await socket.end();
  });

  it("the gateway records nothing in another owner's session", async () => {
    const own = await conversation();
    const body = { model: front.world.deployment.view.name, messages: [{ role: 'user', content: 'x' }] };
    const record = (key: string) => front.ask(key, 'POST /v1/chat/completions', body, { 'x-chat-session-id': own.session });
    expect(await record(berta)).toMatchObject({ status: 404, body: { error: { code: 'chat_session_not_found' } } });
    expect((await record(anna)).status).toBe(200);
  });
});
