import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { auditServer } from 'graphql-http';
import { AppError } from '../../../src/shared/errors.ts';
import { startGraphqlBench, type GraphqlAnswer, type GraphqlBench } from '../../support/graphql-bench.ts';

let bench: GraphqlBench;
let headers: Record<string, string>;

beforeAll(async () => {
  bench = await startGraphqlBench();
  headers = { authorization: `Bearer ${bench.world.keyOf('ADMIN')}`, 'content-type': 'application/json' };
});
afterAll(async () => bench.close());

function codesOf({ body }: Pick<GraphqlAnswer, 'body'>): string[] {
  return (body.errors ?? []).map((error) => error.extensions.code);
}

async function refusal(response: Response): Promise<[number, string | undefined]> {
  const body = (await response.json()) as GraphqlAnswer['body'];
  return [response.status, body.errors?.[0]?.extensions.code];
}

describe('GraphQL over HTTP', () => {
  it('passes all 61 audits of the GraphQL-over-HTTP specification', async () => {
    const withKey = (url: unknown, init: RequestInit = {}) => fetch(url as string, { ...init, headers: { ...(init.headers as Record<string, string>), authorization: headers['authorization']! } });
    const results = await auditServer({ url: bench.url, fetchFn: withKey });
    expect(results.filter((result) => result.status !== 'ok').map((result) => result.name)).toEqual([]);
    expect(results).toHaveLength(61);
  });

  it.each([
    ['a form', 'application/x-www-form-urlencoded', 'query=mutation{x}'],
    ['a multipart form', 'multipart/form-data; boundary=x', '--x--'],
    ['plain text', 'text/plain', '{"query":"{viewer{role}}"}'],
    ['another charset', 'application/json; charset=utf-16', '{}'],
  ])('refuses %s with 415', async (_name, type, body) => {
    expect(await refusal(await bench.post(body, { ...headers, 'content-type': type }))).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
  });

  it('refuses a body over 1 MiB with 413, also one of unknown length', async () => {
    const body = JSON.stringify({ query: ' '.repeat(1_100_000) });
    expect(await refusal(await bench.post(body, headers))).toEqual([413, 'PAYLOAD_TOO_LARGE']);
    const chunked = new ReadableStream({
      start(controller) {
        for (let index = 0; index < 12; index += 1) controller.enqueue(new Uint8Array(100_000));
        controller.close();
      },
    });
    // `duplex` is Node's own and missing from the type.
    const init = { method: 'POST', headers, body: chunked, duplex: 'half' } as RequestInit;
    expect(await refusal(await fetch(bench.url, init))).toEqual([413, 'PAYLOAD_TOO_LARGE']);
  });

  it.each([['{'], ['[]'], ['[{"query":"{viewer{role}}"}]'], ['{}'], ['null'], ['{"__proto__":{"a":1},"query":"{viewer{role}}"}']])('refuses the body %s with 400', async (body) => {
    expect(await refusal(await bench.post(body, headers))).toEqual([400, 'VALIDATION_FAILED']);
  });

  it('runs queries over GET, never mutations', async () => {
    const query = await fetch(`${bench.url}?query={viewer{role}}`, { headers });
    expect(await query.json()).toEqual({ data: { viewer: { role: 'ADMIN' } } });
    const mutation = encodeURIComponent('mutation { refreshModel(input: { modelId: "a/b" }) { __typename } }');
    expect(await refusal(await fetch(`${bench.url}?query=${mutation}`, { headers }))).toEqual([405, 'METHOD_NOT_ALLOWED']);
  });

  it.each([['variables', 'x'], ['extensions', '{'], ['variables', '5'], ['variables', '[]']])('refuses %s in a URL that are %j with 400, as no fault of ours', async (name, value) => {
    expect(await refusal(await fetch(`${bench.url}?query={viewer{role}}&${name}=${value}`, { headers }))).toEqual([400, 'VALIDATION_FAILED']);
    expect(bench.logger.records).toEqual([]);
  });

  it.each([['image/png'], ['text/html'], ['application/json; charset=latin1'], [';']])('answers JSON to somebody who accepts nothing that there is: %s', async (accept) => {
    const response = await bench.post('{"query":"{viewer{role}}"}', { ...headers, accept });
    expect([response.status, response.headers.get('content-type'), await response.json()]).toEqual([200, 'application/json; charset=utf-8', { data: { viewer: { role: 'ADMIN' } } }]);
  });

  it('tells who takes no server-sent events that a subscription needs them, and does not begin it', async () => {
    const query = 'subscription { systemResources(interval: 1) { collectedAt } }';
    for (const accept of ['application/json', 'application/graphql-response+json', 'multipart/mixed']) {
      const response = await bench.post(JSON.stringify({ query }), { ...headers, accept });
      const [, code] = await refusal(response);
      expect([accept, code]).toEqual([accept, 'UNSUPPORTED_MEDIA_TYPE']);
    }
  });

  it('answers 401 without a good key, and refuses a key in the URL', async () => {
    for (const key of [null, 'wrong']) {
      const answer = await bench.ask('{ viewer { role } }', {}, key);
      expect([answer.status, ...codesOf(answer)]).toEqual([401, 'UNAUTHENTICATED']);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    }
    expect(await refusal(await fetch(`${bench.url}?query={viewer{role}}&api_key=x`, { headers }))).toEqual([400, 'VALIDATION_FAILED']);
  });

  it('takes the key of X-API-Key as well', async () => {
    const response = await bench.post('{"query":"{viewer{role}}"}', { 'content-type': 'application/json', 'x-api-key': bench.world.keyOf('USER') });
    expect(await response.json()).toEqual({ data: { viewer: { role: 'USER' } } });
  });
});

describe('limits over HTTP', () => {
  const fields = (count: number) => Array.from({ length: count }, (_, index) => `a${index}: __typename`).join(' ');
  const nested = '{ models(first: 100) { nodes { deployments { events(first: 100) { nodes { reason } } } } } }';

  it.each([
    ['100 aliases of __typename', `{ ${fields(100)} }`],
    ['more tokens than are read', `{ ${'viewer { role } '.repeat(600)} }`],
    ['depth', `{ ${'a { '.repeat(12)} b ${'} '.repeat(12)} }`],
    ['depth without end', `{ ${'a { '.repeat(5000)} b ${'} '.repeat(5000)} }`],
    ['directives', `{ viewer ${'@include(if: true) '.repeat(6)} { role } }`],
    ['cost', nested],
    ['a fragment cycle', '{ viewer { ...A } } fragment A on Viewer { ...B } fragment B on Viewer { ...A }'],
    ['a page of minus a million', '{ models(first: -1000000) { nodes { id } } }'],
    ['a page of 101', '{ downloadTasks(first: 101) { nodes { id } } }'],
    ['an unknown field', '{ nope }'],
    ['no GraphQL at all', '{ '],
    ['two operations without a name', 'query A { viewer { role } } query B { viewer { role } }'],
  ])('refuses %s with VALIDATION_FAILED before anything runs', async (_name, query) => {
    const answer = await bench.ask(query);
    expect(new Set(codesOf(answer))).toEqual(new Set(['VALIDATION_FAILED']));
    expect(answer.body.data).toBeUndefined();
    expect(bench.logger.records).toEqual([]);
  });

  it('weighs a list by the variable that says how long it is, in the operation that runs', async () => {
    const query = 'query Cheap { viewer { role } } query Dear($n: Int!) { models(first: $n) { nodes { deployments { events(first: $n) { nodes { reason } } } } } }';
    const run = async (operationName: string, n: number) => (await (await bench.post(JSON.stringify({ query, operationName, variables: { n } }), headers)).json()) as GraphqlAnswer['body'];
    expect((await run('Dear', 100)).errors?.[0]?.extensions.details).toMatchObject({ limit: 25_000 });
    expect((await run('Dear', 2)).errors).toBeUndefined();
    expect((await run('Cheap', 100)).errors).toBeUndefined();
  });

  it('tells the range of a page before its cost, and names the field', async () => {
    const answer = await bench.ask('query ($n: Int!) { models(first: $n) { nodes { deployments { events(first: 100) { nodes { reason } } } } } }', { n: 1_000_000 });
    expect(answer.body.errors?.[0]?.extensions.details).toEqual({ fields: [{ field: 'first', message: 'must be a whole number from 1 to 100' }] });
  });

  it('lets the introspection of GraphiQL and the biggest pages of our own documents through', async () => {
    const { getIntrospectionQuery } = await import('graphql');
    expect((await bench.ask(getIntrospectionQuery())).body.errors).toBeUndefined();
    const { ListDownloadsDocument, SearchModelsDocument, ListDeploymentsDocument, ChatHistoryDocument } = await import('../../../schema/generated/graphql.ts');
    const caller = { principal: bench.world.principals.get(bench.world.keyOf('ADMIN'))!, requestId: 'r', signal: new AbortController().signal };
    const { graphql } = bench.endpoint;
    expect((await graphql.execute(ListDownloadsDocument, { first: 100 }, caller)).errors).toBeUndefined();
    expect((await graphql.execute(SearchModelsDocument, { first: 100 }, caller)).errors).toBeUndefined();
    expect((await graphql.execute(ListDeploymentsDocument, { first: 100 }, caller)).errors).toBeUndefined();
    expect((await graphql.execute(ChatHistoryDocument, { sessionId: bench.world.sessions[0]!.id, first: 100 }, caller)).errors).toBeUndefined();
  });
});

describe('errors', () => {
  it('answers what a caller handles as data of the result', async () => {
    const pause = 'mutation ($input: PauseDownloadInput!) { pauseDownload(input: $input) { __typename ... on UserError { code message path } } }';
    const answer = await bench.ask(pause, { input: { taskId: 'unknown' } });
    expect(answer.body).toEqual({ data: { pauseDownload: { __typename: 'NotFoundError', code: 'DOWNLOAD_NOT_FOUND', message: expect.any(String), path: ['input', 'taskId'] } } });
  });

  it('gives the facts of a refusal typed', async () => {
    bench.world.startDownload = async () => {
      throw new AppError('INSUFFICIENT_STORAGE', 'Full.', { details: { required_bytes: 8_000_000_000, available_bytes: 1 } });
    };
    const start = 'mutation ($input: StartDownloadInput!) { startDownload(input: $input) { __typename ... on InsufficientStorageError { code requiredBytes availableBytes } } }';
    const answer = await bench.ask(start, { input: { modelId: 'acme/model' } });
    expect(answer.body.data).toEqual({ startDownload: { __typename: 'InsufficientStorageError', code: 'INSUFFICIENT_STORAGE', requiredBytes: 8_000_000_000, availableBytes: 1 } });
  });

  it('answers faults as GraphQL errors, also from mutations', async () => {
    bench.world.startDownload = async () => {
      throw new AppError('RATE_LIMITED', 'Slowly.', { retryAfterSeconds: 3 });
    };
    const answer = await bench.ask('mutation { startDownload(input: { modelId: "acme/model" }) { __typename } }');
    expect(answer.body.errors?.[0]?.extensions).toMatchObject({ code: 'RATE_LIMITED', retryAfterSeconds: 3, requestId: answer.headers.get('x-request-id') });
  });

  it('masks a bug, logs it once with the request id and goes on', async () => {
    bench.world.resources = async () => {
      throw new TypeError('secret at /etc/passwd');
    };
    const answer = await bench.ask('{ systemResources { collectedAt } }');
    expect(codesOf(answer)).toEqual(['INTERNAL']);
    expect(JSON.stringify(answer.body)).not.toContain('secret');
    const records = bench.logger.records.filter((record) => record.level === 'error');
    expect(records).toHaveLength(1);
    expect(records[0]?.fields['requestId']).toBe(answer.headers.get('x-request-id'));
  });

  it.each([
    ['input.priority', { modelId: 'acme/model', priority: 1000 }],
    ['input.variant', { modelId: 'acme/model', variant: '' }],
    ['input.modelId', { modelId: '../../x' }],
    ['input.maxBytesPerSecond', { modelId: 'acme/model', maxBytesPerSecond: -1 }],
    ['input.target', { modelId: 'acme/model', target: 'MOON' }],
  ])('names the refused field %s', async (field, input) => {
    const answer = await bench.ask('mutation ($input: StartDownloadInput!) { startDownload(input: $input) { __typename } }', { input });
    expect(codesOf(answer)).toEqual(['VALIDATION_FAILED']);
    expect(answer.body.errors?.[0]?.extensions.details?.['fields']).toEqual([expect.objectContaining({ field })]);
  });

  it('takes plain UUIDs and global ids, and null for an unknown node', async () => {
    const id = bench.world.downloads[0]!.id;
    const globalId = Buffer.from(`DownloadTask:${id}`).toString('base64');
    for (const given of [id, globalId]) {
      const answer = await bench.ask('query ($id: ID!) { downloadTask(id: $id) { taskId id } }', { id: given });
      expect(answer.body.data).toEqual({ downloadTask: { taskId: id, id: globalId } });
    }
    const none = Buffer.from(`DownloadTask:${bench.world.sessions[0]!.id}`).toString('base64');
    const nodes = await bench.ask('query ($ids: [ID!]!) { nodes(ids: $ids) { __typename } }', { ids: [globalId, none] });
    expect(nodes.body.data).toEqual({ nodes: [{ __typename: 'DownloadTask' }, null] });
  });
});

describe('relations', () => {
  it('loads each relation of a page with one call', async () => {
    bench.world.calls.length = 0;
    const answer = await bench.ask('{ models(first: 3) { nodes { installed { id } downloads { id } deployments { id } } } chatSessions { nodes { messages { nodes { deployment { name } } } } } }');
    expect(answer.body.errors).toBeUndefined();
    const names = bench.world.calls.map((call) => call.name);
    expect(new Set(names).size).toBe(names.length);
    expect(bench.world.calls.find((call) => call.name === 'installed.findByModels')?.keys).toHaveLength(3);
  });

  it('pages by cursor and says when there is no more', async () => {
    const query = 'query ($after: String) { downloadTasks(first: 1, after: $after) { nodes { taskId } edges { cursor } pageInfo { hasNextPage endCursor } totalCount } }';
    type Page = { nodes: { taskId: string }[]; pageInfo: { hasNextPage: boolean; endCursor: string }; totalCount: number };
    const first = (await bench.ask(query)).body.data?.['downloadTasks'] as Page;
    const second = (await bench.ask(query, { after: first.pageInfo.endCursor })).body.data?.['downloadTasks'] as Page;
    expect([...first.nodes, ...second.nodes].map((node) => node.taskId)).toEqual(bench.world.downloads.map((task) => task.id));
    expect([first.pageInfo.hasNextPage, second.pageInfo.hasNextPage, first.totalCount]).toEqual([true, false, 2]);
  });
});
