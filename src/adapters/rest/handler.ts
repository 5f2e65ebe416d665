import { AppError, isAppError } from '../../shared/errors.ts';
import { readJsonObject } from '../http/body.ts';
import { hasCredentialInUrl } from '../http/credential.ts';
import { maskedError, sendError, sendJson } from '../http/error-response.ts';
import type { Exchange, ExchangeHandler } from '../http/exchange.ts';
import { sendDocsPage } from './docs-page.ts';
import { parseInput, queryObject } from './input.ts';
import { createMatcher, type Match } from './matcher.ts';
import type { Answer, Execute, RestRoute, Subscribe } from './route.ts';
import { parseVersion, versionHeaders, type ApiVersions } from './versions.ts';

export type Executor = { execute: (exchange: Exchange) => Execute; subscribe: (exchange: Exchange) => Subscribe };

export type RestOptions = { routes: readonly RestRoute[]; versions: ApiVersions; executor: Executor; openApi: () => unknown };

const docsPaths = new Set(['/docs', '/docs/', '/v1/docs']);

function requireKey(exchange: Exchange): void {
  if (exchange.principal === null) throw new AppError('UNAUTHENTICATED', 'Send a good key as Authorization: Bearer <key>.');
}

async function call(match: Match<RestRoute>, exchange: Exchange, options: RestOptions, headers: Readonly<Record<string, string>>): Promise<Answer> {
  const { route, params } = match;
  if (hasCredentialInUrl(exchange.url)) {
    throw new AppError('VALIDATION_FAILED', 'A key is never taken from a URL.', { details: { fields: [{ field: 'query', message: 'holds a key' }] } });
  }
  const given = queryObject(exchange.url);
  const query = route.query ? parseInput(route.query, given) : refuseAny(given);
  const sent = await readJsonObject(exchange.req, exchange.signal);
  const body = route.body ? parseInput(route.body, sent) : refuseAny(sent);
  return await route.handle({ params, query, body, exchange, headers, execute: options.executor.execute(exchange), subscribe: options.executor.subscribe(exchange) });
}

function refuseAny(given: Record<string, unknown>): Record<string, never> {
  const names = Object.keys(given);
  if (names.length === 0) return {};
  throw new AppError('VALIDATION_FAILED', `${names[0] ?? ''}: unknown field`, { details: { fields: names.map((field) => ({ field, message: 'unknown field' })) } });
}

/** Serves everything below `/api`: key, then version, then route, then input. */
export function createRestHandler(options: RestOptions): ExchangeHandler {
  const match = createMatcher(options.routes);
  return async (exchange) => {
    const { req, res, url } = exchange;
    let headers: Record<string, string> = {};
    try {
      if (req.method === 'GET' && docsPaths.has(url.pathname.slice('/api'.length))) {
        sendDocsPage(exchange, {});
        return;
      }
      requireKey(exchange);
      const { version, path } = parseVersion(url.pathname, options.versions);
      headers = versionHeaders(version, options.versions);
      if (req.method === 'GET' && path === '/openapi.json') {
        sendJson(res, 200, options.openApi(), headers);
        return;
      }
      const answer = await call(match(req.method ?? '', path), exchange, options, headers);
      if ('streamed' in answer) return;
      if (answer.body === undefined) res.writeHead(answer.status, headers).end();
      else sendJson(res, answer.status, answer.body, headers);
    } catch (error) {
      if (!isAppError(error)) throw error;
      if (!req.complete && !res.headersSent) {
        headers = { ...headers, connection: 'close' };
        req.resume();
      }
      sendError(res, error.code === 'INTERNAL' ? maskedError(exchange.requestId) : error, headers);
    }
  };
}
