import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { Validator } from '@seriousme/openapi-schema-validator';
import { describeRest } from '../../../src/adapters/rest/create-rest.ts';
import { restRoutes } from '../../../src/adapters/rest/routes/table.ts';
import { errorCodes } from '../../../src/shared/errors.ts';

type Operation = { operationId: string; parameters: { name: string; in: string; required: boolean }[]; requestBody?: { required: boolean }; responses: Record<string, { description: string; content?: object }> };
type Document = { openapi: string; paths: Record<string, Record<string, Operation>>; components: { schemas: Record<string, object> } };

const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
const document = describeRest(version) as unknown as Document;

/** Every route that is promised to callers. */
const promised = [
  'GET /api/models/search',
  'GET /api/models/{model_id}/info',
  'GET /api/models/categories',
  'POST /api/downloads/start',
  'PUT /api/downloads/{task_id}/pause',
  'PUT /api/downloads/{task_id}/resume',
  'DELETE /api/downloads/{task_id}',
  'GET /api/downloads/{task_id}/status',
  'GET /api/downloads/list',
  'POST /api/deployments/start',
  'PUT /api/deployments/{deployment_id}/stop',
  'PUT /api/deployments/{deployment_id}/restart',
  'GET /api/deployments/list',
  'GET /api/deployments/{deployment_id}/status',
  'GET /api/deployments/{deployment_id}/logs',
  'GET /api/system/resources',
  'POST /api/chat/sessions/create',
  'POST /api/chat/send',
  'GET /api/chat/history/{session_id}',
  'DELETE /api/chat/sessions/{session_id}',
  'POST /api/chat/export/{session_id}',
  'GET /api/openapi.json',
];

const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, path, operation })));

describe('the OpenAPI document', () => {
  it('is valid OpenAPI 3.1', async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(structuredClone(document));
    expect(errors ?? []).toEqual([]);
    expect([valid, validator.version, document.openapi]).toEqual([true, '3.1', '3.1.1']);
  });

  it('asks for a body exactly where one must be sent', () => {
    const optional = operations.filter(({ operation }) => operation.requestBody?.required === false).map(({ name }) => name);
    expect(optional).toEqual(['POST /api/chat/sessions/create']);
  });

  it('refers to nothing that it does not hold', () => {
    const text = JSON.stringify(document);
    const references = new Set([...text.matchAll(/"\$ref":"#\/components\/(\w+)\/([^"]+)"/g)].map(([, kind, name]) => `${kind ?? ''}/${name ?? ''}`));
    const held = Object.entries(document.components).flatMap(([kind, parts]) => Object.keys(parts as object).map((name) => `${kind}/${name}`));
    expect([...references].filter((reference) => !held.includes(reference))).toEqual([]);
    expect(text).not.toContain('#/$defs/');
  });

  it('has every route of the table, and the table every promised one', () => {
    expect(operations.map(({ name }) => name).sort()).toEqual([...promised].sort());
    expect(operations).toHaveLength(restRoutes.length + 1);
    expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(operations.length);
  });

  it('describes each parameter of a path, each success and each refusal', () => {
    for (const { name, path, operation } of operations) {
      const inPath = operation.parameters.filter((parameter) => parameter.in === 'path').map((parameter) => parameter.name);
      expect([name, inPath]).toEqual([name, [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter)]);
      const statuses = Object.keys(operation.responses);
      expect(statuses).toEqual(expect.arrayContaining(['400', '401', '403', '404', '500', '503']));
      expect(statuses.some((status) => status.startsWith('2'))).toBe(true);
      if (operation.requestBody) expect(statuses).toEqual(expect.arrayContaining(['413', '415']));
    }
  });

  it('names codes of the closed list only', () => {
    const named = operations.flatMap(({ operation }) =>
      Object.entries(operation.responses).filter(([status]) => Number(status) >= 400).flatMap(([, { description }]) => description.replaceAll('`', '').split(', ')),
    );
    expect(named.filter((code) => !(errorCodes as readonly string[]).includes(code))).toEqual([]);
  });

  it('is committed as it is', async () => {
    expect(JSON.parse(await readFile('docs/openapi.json', 'utf8'))).toEqual(JSON.parse(JSON.stringify(document)));
  });
});
