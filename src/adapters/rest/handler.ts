import type { Chat } from '../../domains/chat/types.ts';
import type { AuditLog } from '../../shared/audit-log.ts';
import { AppError, isAppError, validationFailed, type FieldFault } from '../../shared/errors.ts';
import { isId } from '../../shared/ids.ts';
import { hasRole, hasScope, type Principal } from '../../shared/principal.ts';
import type { Executor } from '../graphql/executor.ts';
import { discardBody, readJsonObject } from '../http/body.ts';
import { hasCredentialInUrl } from '../http/credential.ts';
import { maskedError, sendError, sendJson } from '../http/error-response.ts';
import { openEventStream } from '../http/event-stream.ts';
import type { Exchange, ExchangeHandler } from '../http/exchange.ts';
import type { OnRevoked } from '../http/key-watch.ts';
import { originOf, recorded } from '../http/origin.ts';
import { responseSignal } from '../http/response-signal.ts';
import { sendDocsPage } from './docs-page.ts';
import { parseInput, queryObject } from './input.ts';
import { createMatcher, type Match } from './matcher.ts';
import type { Answer, RestRoute } from './route.ts';
import { currentVersion, parseVersion, versionHeaders, type ApiVersions } from './versions.ts';

export type RestHandlerOptions = { chat: Pick<Chat, 'export'>; audit: AuditLog; routes: readonly RestRoute[]; versions: ApiVersions; executor: Executor; onRevoked: OnRevoked; stalledMsMax?: number | undefined };

const docsPath = /^\/api(?:\/v(\d+))?\/docs\/?$/;

/** Names that parameters of the query have in the operation documents. */
const documentNames: Readonly<Record<string, string>> = { first: 'limit', after: 'cursor', query: 'q', search: 'q' };

function requireKey({ principal }: Exchange): Principal {
  if (principal === null) throw new AppError('UNAUTHENTICATED', 'Send a good key as Authorization: Bearer <key>.');
  return principal;
}

function refuseAny(given: Record<string, unknown>): Record<string, never> {
  const names = Object.keys(given);
  if (names.length === 0) return {};
  throw validationFailed(names.map((field) => ({ field, message: 'unknown field' })));
}

/** Faults name fields as the caller wrote them. */
function inCallersWords(error: AppError, { query }: RestRoute): AppError {
  const faults = error.details?.['fields'];
  if (error.code !== 'VALIDATION_FAILED' || !query || !Array.isArray(faults)) return error;
  const renamed = (faults as FieldFault[]).map(({ field, message }) => {
    const name = documentNames[field];
    return { field: name !== undefined && name in query.shape ? name : field, message };
  });
  return renamed.every(({ field }, index) => field === (faults[index] as FieldFault).field) ? error : validationFailed(renamed);
}

async function call(match: Match<RestRoute>, exchange: Exchange, options: RestHandlerOptions): Promise<Answer> {
  const { route, params } = match;
  const { executor, onRevoked } = options;
  const { req, res, url, signal } = exchange;
  const given = queryObject(url);
  const query = route.query ? parseInput(route.query, given) : refuseAny(given);
  const sent = await readJsonObject(req, signal);
  const body = route.body ? parseInput(route.body, sent) : refuseAny(sent);
  const principal = requireKey(exchange);
  const origin = originOf(req);
  const caller = { principal, ...origin, signal };
  try {
    return await route.handle({
      params,
      query,
      body,
      exchange,
      execute: executor.execute(caller),
      subscribe: executor.subscribe(caller),
      exportSession: (sessionId, format) =>
        recorded(options.audit, { action: 'chat.export', actor: principal, target: { kind: 'chat_session', id: isId(sessionId) ? sessionId.toLowerCase() : null }, origin }, async () => {
          if (!hasRole(principal, 'USER')) throw new AppError('FORBIDDEN', 'This needs a key with the role USER.');
          if (!hasScope(principal, 'chat')) throw new AppError('FORBIDDEN', 'This needs a key with the scope chat.');
          return await options.chat.export(sessionId, format, principal, signal);
        }),
      openStream: (headers) => {
        if (req.method === 'HEAD') throw new AppError('METHOD_NOT_ALLOWED', 'A stream is read by GET.', { details: { allowed: ['GET'] } });
        onRevoked(principal, responseSignal(res), () => res.destroy());
        return openEventStream(exchange, { headers, stalledMsMax: options.stalledMsMax });
      },
    });
  } catch (error) {
    throw isAppError(error) ? inCallersWords(error, route) : error;
  }
}

async function answer(exchange: Exchange, options: RestHandlerOptions, match: (method: string, path: string) => Match<RestRoute>): Promise<void> {
  const { req, res, url } = exchange;
  requireKey(exchange);
  const { version, path } = parseVersion(url.pathname, options.versions);
  for (const [name, value] of Object.entries(versionHeaders(version, options.versions))) res.setHeader(name, value);
  if (hasCredentialInUrl(url)) throw new AppError('VALIDATION_FAILED', 'A key is never taken from a URL.', { details: { fields: [{ field: 'query', message: 'holds a key' }] } });
  // Asked for the head alone, a route does the same; Node leaves the body out.
  const result = await call(match(req.method === 'HEAD' ? 'GET' : (req.method ?? ''), path), exchange, options);
  if ('streamed' in result) return;
  if (result.body === undefined) res.writeHead(result.status, { 'cache-control': 'no-store' }).end();
  else sendJson(res, result.status, result.body);
}

/** A browser cannot send a key when it opens a page, so the page itself asks for one; programs get the usual error. */
function wantsDocsPage({ req, url, principal }: Exchange, versions: ApiVersions): boolean {
  const match = docsPath.exec(url.pathname);
  if (!match || (req.method !== 'GET' && req.method !== 'HEAD') || !Object.hasOwn(versions, match[1] ?? currentVersion)) return false;
  return principal !== null || (req.headers.accept ?? '').includes('text/html');
}

/** Serves everything below `/api`: key, then version, then route, then method, then input. */
export function createRestHandler(options: RestHandlerOptions): ExchangeHandler {
  const match = createMatcher(options.routes);
  return async (exchange) => {
    const { req, res, requestId } = exchange;
    try {
      if (wantsDocsPage(exchange, options.versions)) sendDocsPage(exchange);
      else await answer(exchange, options, match);
    } catch (error) {
      if (!isAppError(error)) throw error;
      if (!res.headersSent) await discardBody(req, res);
      sendError(res, error.code === 'INTERNAL' ? maskedError(requestId) : error);
    }
  };
}
