import { Agent, request } from 'node:http';
import * as fc from 'fast-check';
import type * as z from 'zod';
import { httpStatusOf } from '../../../src/adapters/http/error-response.ts';
import { errorBody } from '../../../src/adapters/rest/response-schemas.ts';
import type { RestRoute } from '../../../src/adapters/rest/route.ts';
import { restRoutes } from '../../../src/adapters/rest/routes/table.ts';

export type FuzzOptions = {
  url: string;
  key: string;
  runs: number;
  seed?: number;
  /** Things that exist, so that some calls get through. */
  ids?: readonly string[];
  modelIds?: readonly string[];
  /** A fault that is known and told elsewhere. */
  isKnown?: (route: RestRoute, answer: FuzzAnswer) => boolean;
};

export type FuzzAnswer = { status: number; headers: NodeJS.Dict<string | string[]>; body: string };

/** The route by its name: a counterexample is printed. */
type Sent = { name: string; method: string; path: string; headers: Record<string, string>; body: string | null; hasKey: boolean };

/** Answers that a source, a runtime or a full disk causes; every other 5xx is a fault of ours. */
const outsideStatuses = new Set([502, 503, 504, 507]);
const streamedBytesMax = 256 * 1024;
/** What only our own insides could have put into an error. */
const insides = /node_modules|\bat [\w.<>]+ \(|\.ts:\d+|file:\/\/|[\\/](?:src|work|home|root|tmp|var)[\\/]\w|Cannot read propert|is not a function|select \w+ from|violates|syntax error at or near/i;

const oddText = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('', '0', '-1', '1e999', 'NaN', 'null', 'true', '../../../etc/passwd', '..%2f', '%00', '\0', "' or 1=1 --", '${jndi:x}', '<script>', '\u202e', '\ud800', '__proto__', 'constructor', 'x'.repeat(5000), '2026-01-01T00:00:00Z', '9'.repeat(30)),
);
const oddNumber = fc.oneof(fc.integer(), fc.double(), fc.constantFrom(-1, 0, 1, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 53), 1e308, 0.1));

function textOf(options: FuzzOptions): fc.Arbitrary<string> {
  const known = [...(options.ids ?? []), ...(options.modelIds ?? []), 'huggingface:acme/model', 'ollama:tiny:1b', 'acme/model@main'];
  return fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...known) }, { weight: 1, arbitrary: fc.uuid() }, { weight: 3, arbitrary: oddText });
}

/** Values that the schema's own kind suggests, so that many calls come further than its check. */
function valueOf(schema: z.core.$ZodType, options: FuzzOptions, depth = 0): fc.Arbitrary<unknown> {
  const { def } = schema._zod;
  const inner = (next: z.core.$ZodType): fc.Arbitrary<unknown> => valueOf(next, options, depth + 1);
  const own = ((): fc.Arbitrary<unknown> => {
    const kind: string = def.type;
    switch (kind) {
      case 'optional':
      case 'nullable':
        return inner((def as z.core.$ZodOptionalDef).innerType);
      case 'object':
        return objectOf((def as z.core.$ZodObjectDef).shape, options, depth);
      case 'array':
        return fc.array(inner((def as z.core.$ZodArrayDef).element), { maxLength: 4 });
      case 'enum':
        return fc.constantFrom(...Object.values((def as z.core.$ZodEnumDef).entries));
      case 'number':
        return fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 1, max: 100 }) }, { weight: 1, arbitrary: oddNumber });
      case 'boolean':
        return fc.boolean();
      case 'record':
        return fc.dictionary(fc.oneof(fc.constantFrom('OMP_NUM_THREADS', 'LD_PRELOAD', '__proto__'), fc.string()), fc.oneof(fc.string(), fc.jsonValue()), { maxKeys: 4 });
      default:
        return textOf(options);
    }
  })();
  const wrong = depth > 3 ? fc.constant(null) : fc.oneof(oddNumber, oddText, fc.jsonValue({ maxDepth: 3 }));
  return fc.oneof({ weight: 30, arbitrary: own }, { weight: 1, arbitrary: wrong });
}

function objectOf(shape: Readonly<Record<string, z.core.$ZodType>>, options: FuzzOptions, depth: number): fc.Arbitrary<unknown> {
  const fields = Object.fromEntries(Object.entries(shape).map(([name, field]) => [name, valueOf(field, options, depth + 1)]));
  const known = fc.record(fields, { requiredKeys: Object.keys(shape).filter((name) => shape[name]!._zod.def.type !== 'optional' && depth === 0) });
  const extra = fc.dictionary(fc.oneof(fc.constantFrom('__proto__', 'constructor', 'modelId'), fc.string({ maxLength: 8 })), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 2 });
  return fc.oneof({ weight: 8, arbitrary: known }, { weight: 1, arbitrary: fc.tuple(known, extra).map(([one, two]) => ({ ...one, ...two })) });
}

const plainQueryValue = fc.oneof(oddText, fc.integer({ min: -2, max: 110 }).map(String), fc.constantFrom('true', 'false', 'running', 'asc', 'desc', 'name', 'gguf', 'debug', 'follow'));

function queryOf(route: RestRoute, options: FuzzOptions): fc.Arbitrary<string> {
  const names = Object.keys(route.query?.shape ?? {});
  const pair = fc.tuple(names.length > 0 ? fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: oddText }) : oddText, fc.oneof(plainQueryValue, textOf(options)));
  const pairs = names.length > 0 ? fc.array(pair, { maxLength: 3 }) : fc.oneof({ weight: 9, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.array(pair, { maxLength: 1 }) });
  return pairs.map((list) => list.map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&'));
}

function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

function bodyOf(route: RestRoute, options: FuzzOptions): fc.Arbitrary<string | null> {
  const garbage = fc.oneof(fc.string({ maxLength: 50 }), fc.jsonValue().map((value) => JSON.stringify(value)), fc.constant(`{"a":${'['.repeat(10_000)}`));
  if (!route.body) return fc.oneof({ weight: 9, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: garbage });
  const fitting = objectOf(route.body.shape, options, 0).map((value) => JSON.stringify(value));
  return fc.oneof({ weight: 12, arbitrary: fitting }, { weight: 1, arbitrary: garbage });
}

function requestOf(options: FuzzOptions): fc.Arbitrary<Sent> {
  return fc.constantFrom(...restRoutes).chain((route) => {
    const parts = [...route.path.matchAll(/\{\w+\+?\}/g)].length;
    return fc
      .record({
        values: fc.array(fc.tuple(textOf(options), fc.boolean()), { minLength: parts, maxLength: parts }),
        query: queryOf(route, options),
        body: bodyOf(route, options),
        version: fc.constantFrom('', '/v1'),
        hasKey: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
        type: fc.oneof({ weight: 20, arbitrary: fc.constant('application/json') }, { weight: 1, arbitrary: fc.constantFrom('text/plain', 'application/json; charset=utf-16', 'multipart/form-data') }),
      })
      .map(({ values, query, body, version, hasKey, type }) => {
        const left = [...values];
        const path = route.path.replaceAll(/\{\w+\+?\}/g, () => {
          const [value, isRaw] = left.shift()!;
          // An empty or dotted segment would be another path.
          const safe = value === '' || /^\.+$/.test(value) ? 'x' : value;
          return isRaw && /^[\w:@~-][\w:@.~-]*(\/[\w:@~-][\w:@.~-]*)*$/.test(safe) ? safe : encode(safe);
        });
        const headers: Record<string, string> = body === null ? {} : { 'content-type': type, 'content-length': String(Buffer.byteLength(body)) };
        return { name: route.operationId, method: route.method, path: `/api${version}${path}${query === '' ? '' : `?${query}`}`, headers, body, hasKey };
      });
  });
}

async function send({ url, key }: FuzzOptions, { method, path, headers, body, hasKey }: Sent, agent: Agent): Promise<FuzzAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<FuzzAnswer>();
  const req = request(new URL(url), { agent, path, method, headers: { ...headers, ...(hasKey && { authorization: `Bearer ${key}` }) } }, (res) => {
    let text = '';
    const done = (): void => resolve({ status: res.statusCode ?? 0, headers: res.headers, body: text });
    res.setEncoding('utf8');
    if (res.headers['content-type']?.startsWith('text/event-stream') === true) {
      res.destroy();
      done();
      return;
    }
    res.on('data', (chunk: string) => {
      if (text.length < streamedBytesMax) text += chunk;
    });
    res.on('end', done);
    res.on('error', reject);
  });
  req.on('error', reject);
  req.end(body ?? undefined);
  return await promise;
}

function errorFaultOf({ status, headers, body }: FuzzAnswer): string | null {
  const parsed = errorBody.safeParse(JSON.parse(body));
  if (parsed.error) return 'the error has another shape';
  const { code, message } = parsed.data.error;
  if (httpStatusOf[code] !== status) return `${code} came with ${status}`;
  if (status >= 500 && !outsideStatuses.has(status)) return 'a fault of ours';
  if (status === 503 && headers['retry-after'] === undefined) return 'Retry-After is missing';
  return insides.test(message) ? 'the error shows our insides' : null;
}

/** Null when the answer is as promised, else what is wrong with it. */
function faultOf(route: RestRoute, { hasKey }: Sent, answer: FuzzAnswer): string | null {
  const { status, headers, body } = answer;
  if (headers['x-request-id'] === undefined || headers['api-version'] !== '1') return 'a header is missing';
  if (!hasKey && status !== 401) return 'answered without a key';
  if (hasKey && status === 401) return 'a good key was refused';
  if (route.statuses.includes(status)) {
    if (route.contentTypes || headers['content-type']?.includes('event-stream') === true) return null;
    const parsed = route.response?.safeParse(JSON.parse(body));
    return parsed?.error ? `the answer is not what the document says: ${parsed.error.message}` : null;
  }
  return errorFaultOf(answer);
}

/** Sends generated requests to every route; fails with the smallest one that is answered in a way nobody promised. */
export async function fuzzRest(options: FuzzOptions): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  try {
    await fc.assert(
      fc.asyncProperty(requestOf(options), async (sent) => {
        const answer = await send(options, sent, agent);
        const route = restRoutes.find(({ operationId }) => operationId === sent.name)!;
        const fault = options.isKnown?.(route, answer) === true ? null : faultOf(route, sent, answer);
        if (fault !== null) throw new Error(`${fault}: ${sent.method} ${sent.path} ${sent.body ?? ''} -> ${answer.status} ${answer.body.slice(0, 1000)}`);
      }),
      { numRuns: options.runs, ...(options.seed !== undefined && { seed: options.seed }) },
    );
  } finally {
    agent.destroy();
  }
}
