import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { describeRest } from '../../../src/adapters/rest/create-rest.ts';
import { startRestBench, type RestBench } from '../../support/rest-bench.ts';

type Schema = { $ref?: string; type?: string; properties?: Record<string, Schema>; minimum?: number; maximum?: number };
type Document = { paths: Record<string, Record<string, { requestBody?: { content: Record<string, { schema: Schema }> }; responses: Record<string, unknown> }>>; components: { schemas: Record<string, Schema> } };

const document = describeRest('0.0.0') as unknown as Document;
/** Their ranges are the runtime's to check, beyond what GraphQL looks at. */
const checkedLater = new Set(['config.memory_limit_bytes', 'config.port', 'parameters.top_k']);

function resolve(schema: Schema): Schema {
  return schema.$ref === undefined ? schema : document.components.schemas[schema.$ref.split('/').at(-1) ?? '']!;
}

/** Every number of a body, by its path. */
function numbersOf(given: Schema, path: readonly string[] = []): [string[], Schema][] {
  const schema = resolve(given);
  if (schema.type === 'integer' || schema.type === 'number') return [[[...path], schema]];
  return Object.entries(schema.properties ?? {}).flatMap(([name, part]) => numbersOf(part, [...path, name]));
}

function bodyOf(path: readonly string[], value: number): Record<string, unknown> {
  return path.toReversed().reduce<unknown>((inner, name) => ({ [name]: inner }), value) as Record<string, unknown>;
}

let bench: RestBench;
beforeAll(async () => {
  bench = await startRestBench();
});
afterAll(async () => bench.close());

describe('the OpenAPI document', () => {
  it.each([
    ['/api/downloads/start', { model_id: 'acme/model-0' }],
    ['/api/deployments/start', { model_id: 'acme/model-0' }],
    ['/api/chat/sessions/create', {}],
  ])('says of %s the range of each number that is refused outside of it', async (path, needed) => {
    const numbers = numbersOf(document.paths[path]!['post']!.requestBody!.content['application/json']!.schema);
    expect(numbers.length).toBeGreaterThan(1);
    for (const [place, { minimum, maximum }] of numbers) {
      const name = place.join('.');
      expect([name, typeof minimum, typeof maximum]).toEqual([name, 'number', 'number']);
      if (checkedLater.has(name)) continue;
      const outside = [minimum! - 1, ...(maximum === Number.MAX_SAFE_INTEGER ? [] : [maximum! + 1])];
      for (const value of outside) {
        const { status, body } = await bench.client.call('POST', path, { ...needed, ...bodyOf(place, value) });
        expect([name, value, status, JSON.stringify(body)]).toEqual([name, value, 400, expect.stringContaining(place.at(-1)!)]);
      }
      for (const value of [minimum!, maximum!]) expect([name, value, (await bench.client.call('POST', path, { ...needed, ...bodyOf(place, value) })).status]).not.toEqual([name, value, 400]);
    }
  });

  it('says of every route that may be sent a body what a wrong one gets', async () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, { responses }] of Object.entries(methods)) expect([path, method, '415' in responses, '413' in responses]).toEqual([path, method, method !== 'get', method !== 'get']);
    }
    const wrong = await fetch(`${bench.url}/api/downloads/01900000-0000-7000-8001-000000000000/pause`, { method: 'PUT', headers: { authorization: `Bearer ${bench.key}`, 'content-type': 'text/plain' }, body: 'x' });
    expect(wrong.status).toBe(415);
  });
});
