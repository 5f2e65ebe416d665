import * as z from 'zod';
import type { ErrorCode } from '../../shared/errors.ts';
import { httpStatusOf } from '../http/error-response.ts';
import { errorBody } from './response-schemas.ts';
import type { RestRoute } from './route.ts';

type Json = Record<string, unknown>;

/** What any route may answer, whatever it does. */
const commonErrors: readonly ErrorCode[] = ['UNAUTHENTICATED', 'FORBIDDEN', 'ORIGIN_NOT_ALLOWED', 'UNKNOWN_API_VERSION', 'VALIDATION_FAILED', 'OVERLOADED', 'SHUTTING_DOWN', 'TIMEOUT', 'INTERNAL'];

class Components {
  readonly schemas: Json = {};

  /** The schema as JSON Schema, its named parts moved to `components.schemas`. */
  add(schema: z.ZodType, io: 'input' | 'output'): Json {
    const text = JSON.stringify(z.toJSONSchema(schema, { target: 'draft-2020-12', io, unrepresentable: 'any' }));
    const { $defs, $schema: _dialect, ...rest } = JSON.parse(text.replaceAll('"#/$defs/', '"#/components/schemas/')) as Json & { $defs?: Json };
    Object.assign(this.schemas, $defs);
    const id = z.globalRegistry.get(schema)?.id;
    if (id === undefined) return rest;
    this.schemas[id] = rest;
    return { $ref: `#/components/schemas/${id}` };
  }
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)\+?\}/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
}

function queryParameters(query: z.ZodObject | null, components: Components): Json[] {
  if (!query) return [];
  return Object.entries(query.shape).map(([name, schema]) => {
    const { description, ...rest } = components.add(schema as z.ZodType, 'output');
    return { name, in: 'query', required: false, schema: rest, ...(description !== undefined && { description }) };
  });
}

function errorResponses(codes: readonly ErrorCode[], components: Components): Json {
  const schema = components.add(errorBody.meta({ id: 'Error' }), 'output');
  const byStatus = Map.groupBy(new Set([...codes, ...commonErrors]), (code) => httpStatusOf[code]);
  return Object.fromEntries([...byStatus].map(([status, list]) => [String(status), { description: list.join(', '), content: { 'application/json': { schema } } }]));
}

function success(route: RestRoute, components: Components): Json {
  const content = route.response && { [route.contentType ?? 'application/json']: { schema: components.add(route.response, 'output') } };
  return { description: 'Done.', headers: { 'API-Version': { schema: { type: 'string' } }, 'X-Request-Id': { schema: { type: 'string' } } }, ...(content && { content }) };
}

function operation(route: RestRoute, components: Components): Json {
  return {
    operationId: route.operationId,
    tags: [route.tag],
    summary: route.summary,
    parameters: [...pathParameters(route.path), ...queryParameters(route.query, components)],
    ...(route.body && { requestBody: { required: true, content: { 'application/json': { schema: components.add(route.body, 'input') } } } }),
    responses: { [String(route.status)]: success(route, components), ...errorResponses(route.errors, components) },
  };
}

/** The OpenAPI 3.1 document of the route table. */
export function buildOpenApi(routes: readonly RestRoute[], version: string): Json {
  const components = new Components();
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = `/api${route.path.replaceAll('+}', '}')}`;
    (paths[path] ??= {})[route.method.toLowerCase()] = operation(route, components);
  }
  return {
    openapi: '3.1.1',
    info: { title: 'llm-manager', version, description: 'Finds, downloads, runs and talks to large language models on your own machines. Every path is also served under /api/v1.' },
    servers: [{ url: '/' }],
    security: [{ key: [] }],
    paths,
    components: { schemas: components.schemas, securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
  };
}
