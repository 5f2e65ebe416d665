import * as z from 'zod';
import type { ErrorCode } from '../../shared/errors.ts';
import { httpStatusOf, retryAfterDefaultSeconds } from '../http/error-response.ts';
import { errorBody } from './response-schemas.ts';
import type { RestRoute } from './route.ts';

type Json = Record<string, unknown>;

/** What any route may answer, whatever it does. */
const commonErrors: readonly ErrorCode[] = [
  'VALIDATION_FAILED',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'ORIGIN_NOT_ALLOWED',
  'UNKNOWN_API_VERSION',
  'RATE_LIMITED',
  'QUOTA_EXCEEDED',
  'OVERLOADED',
  'SHUTTING_DOWN',
  'TIMEOUT',
  'INTERNAL',
];
/** Also where no body is meant to come: one that comes is looked at all the same. */
const bodyErrors: readonly ErrorCode[] = ['PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'];

const statusTexts: Readonly<Record<number, string>> = { 200: 'Done.', 201: 'Made.', 202: 'Accepted; it goes on.', 204: 'Done; there is nothing to say.' };

const responseHeaders = {
  'API-Version': { $ref: '#/components/headers/API-Version' },
  'X-Request-Id': { $ref: '#/components/headers/X-Request-Id' },
};
const headerComponents = {
  'API-Version': { description: 'The version that answered.', schema: { type: 'string' } },
  'X-Request-Id': { description: "The request's id, the caller's own if it sent a valid one.", schema: { type: 'string' } },
  'Retry-After': { description: 'When to come back, in seconds.', schema: { type: 'integer' } },
};

class Components {
  readonly schemas: Json = {};

  /** The schema as JSON Schema, its named parts moved to `components.schemas`. */
  add(schema: z.ZodType, io: 'input' | 'output'): Json {
    const text = JSON.stringify(z.toJSONSchema(schema, { target: 'draft-2020-12', io, unrepresentable: 'any', override: tidy(io) }));
    const { $defs, $schema: _dialect, ...rest } = JSON.parse(text.replaceAll('"#/$defs/', '"#/components/schemas/')) as Json & { $defs?: Record<string, Json> };
    for (const [name, part] of Object.entries($defs ?? {})) this.#define(name, part);
    const { id, ...own } = rest;
    if (typeof id !== 'string') return rest;
    this.#define(id, own);
    return { $ref: `#/components/schemas/${id}` };
  }

  #define(name: string, { id: _id, ...schema }: Json): void {
    this.schemas[name] = schema;
  }
}

/**
 * What a reader of the document does not need: a format's own pattern, and the promise that an answer never gets
 * a further field.
 */
function tidy(io: 'input' | 'output'): (context: { jsonSchema: z.core.JSONSchema.BaseSchema }) => void {
  return ({ jsonSchema }) => {
    if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
    if (io === 'output' && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
  };
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)(\+?)\}/g)].map(([, name, plus]) => ({
    name,
    in: 'path',
    required: true,
    description: plus === '+' ? 'Slashes and colons may be sent as they are or percent-encoded.' : 'A plain UUID.',
    schema: { type: 'string' },
  }));
}

function queryParameters(query: z.ZodObject | null, components: Components): Json[] {
  if (!query) return [];
  return Object.entries(query.shape).map(([name, field]) => {
    // A shape holds schemas; zod's own type for it is wider.
    const { description, ...schema } = components.add(field as z.ZodType, 'output');
    return { name, in: 'query', required: false, ...(description !== undefined && { description }), schema };
  });
}

function headerParameters({ headers = [] }: RestRoute): Json[] {
  return headers.map(({ name, description }) => ({ name, in: 'header', required: false, description, schema: { type: 'string' } }));
}

function errorResponses(codes: readonly ErrorCode[], components: Components): Json {
  const schema = components.add(errorBody, 'output');
  const byStatus = Map.groupBy(new Set(codes), (code) => httpStatusOf[code]);
  const responses = [...byStatus].map(([status, list]) => {
    const retries = list.some((code) => retryAfterDefaultSeconds[code] !== undefined);
    const headers = retries ? { ...responseHeaders, 'Retry-After': { $ref: '#/components/headers/Retry-After' } } : responseHeaders;
    return [String(status), { description: list.map((code) => `\`${code}\``).join(', '), headers, content: { 'application/json': { schema } } }];
  });
  return Object.fromEntries(responses) as Json;
}

function contentOf(route: RestRoute, components: Components): Json | null {
  if (!route.response) return null;
  const types = route.contentTypes ?? ['application/json'];
  const content: Json = Object.fromEntries(types.map((type) => [type, { schema: route.contentTypes ? { type: type === 'application/json' ? 'object' : 'string' } : components.add(route.response as z.ZodType, 'output') }]));
  // OpenAPI 3.1 has no words for a sequence of events: the schema is that of one event's data.
  if (route.stream) content['text/event-stream'] = { schema: components.add(route.stream.schema, 'output') };
  return content;
}

function successResponses(route: RestRoute, components: Components): Json {
  const content = contentOf(route, components);
  const extra = route.stream ? ` ${route.stream.description}` : '';
  return Object.fromEntries(route.statuses.map((status) => [String(status), { description: `${statusTexts[status] ?? 'Done.'}${extra}`, headers: responseHeaders, ...(content && { content }) }]));
}

function operation(route: RestRoute, components: Components): Json {
  const codes = [...commonErrors, ...route.errors, ...(route.method === 'GET' ? [] : bodyErrors)];
  return {
    operationId: route.operationId,
    tags: [route.tag],
    summary: route.summary,
    parameters: [...pathParameters(route.path), ...queryParameters(route.query, components), ...headerParameters(route)],
    ...(route.body && { requestBody: { required: route.mayLackBody !== true, content: { 'application/json': { schema: components.add(route.body, 'input') } } } }),
    responses: { ...successResponses(route, components), ...errorResponses(codes, components) },
  };
}

const description = [
  'Finds, downloads, runs and talks to large language models on your own machines.',
  'Every path is also served under `/api/v1`, pinned to this version.',
  'Progress of downloads comes over the WebSocket `/ws/download-progress`, answers over `/ws/chat/stream`.',
].join(' ');

const securitySchemes = {
  key: { type: 'http', scheme: 'bearer', description: 'An API key; never in a URL.' },
  header: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'The same key.' },
};

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
    info: { title: 'llm-manager', version, description, license: { name: 'MIT', identifier: 'MIT' } },
    servers: [{ url: '/', description: 'This service.' }],
    security: [{ key: [] }, { header: [] }],
    tags: ['Models', 'Downloads', 'Deployments', 'System', 'Chat'].map((name) => ({ name })),
    paths,
    components: { schemas: components.schemas, headers: headerComponents, securitySchemes },
  };
}
