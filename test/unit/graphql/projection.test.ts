import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parse, subscribe, type ExecutionResult } from 'graphql';
import { createGraphql } from '../../../src/adapters/graphql/create-graphql.ts';
import { ProjectedResult, toJson } from '../../../src/adapters/graphql/projection.ts';
import type { ChatStreamEvent } from '../../../src/domains/chat/types.ts';
import { createWorld } from '../../support/domain-doubles/doubles.ts';
import { silentLogger } from '../../support/silent-logger.ts';

const messageId = '01900000-0000-7000-8000-000000000001';
const place = { messageId, deploymentId: null };
const usage = { promptTokens: 1, completionTokens: 2, timeToFirstTokenMs: 3, tokensPerSecond: null, messagesLeftOut: null };
const events: ChatStreamEvent[] = [
  { type: 'start', ...place, index: -1 },
  { type: 'token', ...place, index: 0, text: 'a "quoted" line\n\u2028' },
  { type: 'token', ...place, index: 1, text: '\u{1f600}' },
  { type: 'end', ...place, index: 1, status: 'failed', usage, finishReason: 'error', error: { code: 'CRASHED', message: 'It crashed.' } },
];

const world = createWorld();
world.stream = async function* () {
  yield* events;
};
const graphql = createGraphql({ services: world.services, logger: silentLogger });
const principal = world.principals.get(world.keyOf('USER')) ?? null;

async function collect(stream: unknown): Promise<ExecutionResult[]> {
  const results: ExecutionResult[] = [];
  for await (const result of stream as AsyncIterable<ExecutionResult>) results.push(result);
  return results;
}

async function projected(query: string, variables: Record<string, unknown>): Promise<ExecutionResult[]> {
  return await collect(await graphql.subscribe(parse(query), variables, { principal, requestId: 'r', signal: new AbortController().signal }));
}

async function executed(query: string, variableValues: Record<string, unknown>): Promise<ExecutionResult[]> {
  const contextValue = { principal, requestId: 'r', signal: new AbortController().signal, services: world.services };
  return await collect(await subscribe({ schema: graphql.schema, document: parse(query), variableValues, contextValue }));
}

const leaf = fc.constantFrom('type', 'messageId', 'deploymentId', 'index', 'text', 'status', 'finishReason', '__typename', 'usage { completionTokens }', 'error { code message }');
const condition = fc.constantFrom('', '', ' @include(if: $yes)', ' @skip(if: $yes)', ' @include(if: false)', ' @skip(if: false)');
const field = fc.tuple(fc.constantFrom('', 'a: ', 'b: ', 'c: '), leaf, condition).map(([alias, name, when]) => {
  const [plain = '', selection = ''] = name.split(/ (?=\{)/);
  // Two different fields cannot have one name.
  return `${alias === '' ? '' : `${alias.slice(0, -2)}_${plain}: `}${plain}${when} ${selection}`;
});
const fields = fc.array(field, { minLength: 1, maxLength: 8 }).map((list) => list.join(' '));

describe('events that are read off instead of executed', () => {
  it('are answered letter for letter as executed ones, whatever is asked of them', async () => {
    await fc.assert(
      fc.asyncProperty(fields, fields, fields, fc.boolean(), async (plain, inline, spread, yes) => {
        const query = `subscription ($id: ID!, $yes: Boolean! = true) { news: chatStream(messageId: $id) { ${plain} ... on ChatStreamEvent { ${inline} } ...Rest ... { index @include(if: $yes) } } } fragment Rest on ChatStreamEvent { ${spread} }`;
        const variables = { id: messageId, yes };
        const seen = await projected(query, variables);
        expect(seen.map(toJson)).toEqual((await executed(query, variables)).map((result) => JSON.stringify(result)));
        expect(seen.map((result) => result instanceof ProjectedResult)).toEqual([false, true, true, false]);
      }),
      { numRuns: 60 },
    );
  });

  it('give adapters the same data as text', async () => {
    for (const result of await projected('subscription ($id: ID!) { chatStream(messageId: $id) { type index text } }', { id: messageId })) {
      expect(JSON.parse(toJson(result))).toEqual({ data: result.data });
    }
  });

  it('are words that are made once for all who ask the same', async () => {
    const document = parse('subscription ($id: ID!) { chatStream(messageId: $id) { text } }');
    const caller = { principal, requestId: 'r', signal: new AbortController().signal };
    let made = 0;
    const text = 'counted';
    const counted = { type: 'token' as const, ...place, index: 0, get text() { made += 1; return text; } };
    world.stream = async function* () {
      yield counted;
    };
    for (let reader = 0; reader < 3; reader += 1) {
      const [result] = await collect(await graphql.subscribe(document, { id: messageId }, caller));
      expect(result && toJson(result)).toBe('{"data":{"chatStream":{"text":"counted"}}}');
    }
    expect(made).toBe(1);
  });
});
