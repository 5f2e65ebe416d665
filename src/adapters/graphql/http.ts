import type { ServerResponse } from 'node:http';
import { AppError } from '../../shared/errors.ts';
import { acceptedTypes } from '../http/accept.ts';
import { discardBody } from '../http/body.ts';
import { hasCredentialInUrl } from '../http/credential.ts';
import { httpStatusOf, retryAfterSecondsOf, sendError, sendJson } from '../http/error-response.ts';
import type { Exchange, ExchangeHandler } from '../http/exchange.ts';
import type { OnRevoked } from '../http/key-watch.ts';
import { peerOf } from '../http/origin.ts';
import { responseSignal } from '../http/response-signal.ts';
import type { Graphql } from './create-graphql.ts';
import { toWireError } from './errors.ts';
import { streamSubscription } from './event-stream.ts';
import { readRequestBody } from './request-body.ts';
import type { GraphiqlPage } from './graphiql.ts';
import { watchStall } from './stall.ts';

export type GraphqlHttpOptions = { graphql: Graphql; page: GraphiqlPage; onRevoked: OnRevoked };

async function sendGraphqlError({ req, res, requestId, logger }: Exchange, error: AppError): Promise<void> {
  const retryAfter = retryAfterSecondsOf(error);
  await discardBody(req, res);
  sendJson(res, httpStatusOf[error.code], { errors: [toWireError(error, { requestId, logger })] }, {
    ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
    ...(error.code === 'UNAUTHENTICATED' ? { 'www-authenticate': 'Bearer' } : {}),
  });
}

/** What the front refuses for the key's sake is told as GraphQL tells it; all else as on any path. */
export function sendFrontError(res: ServerResponse, error: AppError): void {
  const requestId = res.getHeader('x-request-id');
  if (error.code !== 'RATE_LIMITED' || res.headersSent) return sendError(res, error);
  const retryAfterSeconds = retryAfterSecondsOf(error);
  const { code, message, details } = error;
  const extensions = { code, requestId, ...(details && { details }), retryAfterSeconds };
  sendJson(res, httpStatusOf[code], { errors: [{ message, extensions }] }, { 'retry-after': String(retryAfterSeconds) });
  return undefined;
}

/** Yoga parses what stands in a URL by itself, and takes text that is no JSON for a fault of ours. */
function assertJson(field: string, text: string | null): void {
  if (text === null || text === '') return;
  try {
    JSON.parse(text);
  } catch (cause) {
    throw new AppError('VALIDATION_FAILED', `${field}: is not valid JSON`, { details: { fields: [{ field, message: 'is not valid JSON' }] }, cause });
  }
}

const answerTypes = ['application/json', 'application/graphql-response+json', 'text/event-stream', 'text/*', 'application/*', '*/*'];

/** Yoga runs an operation first and says 406 without a body afterwards; who takes none of our types gets JSON instead, as HTTP allows. */
function acceptSomething({ req }: Exchange): void {
  if (!acceptedTypes(req.headers.accept ?? '*/*').some((type) => answerTypes.includes(type))) req.headers.accept = 'application/json';
}

/** Everything that is refused before Yoga looks at the request; the body is read here, counted and in UTF-8. Null without one. */
async function acceptRequest(exchange: Exchange): Promise<Awaited<ReturnType<typeof readRequestBody>> | null> {
  const { req, url, principal } = exchange;
  if (hasCredentialInUrl(url)) {
    throw new AppError('VALIDATION_FAILED', 'A key is never taken from a URL.', { details: { fields: [{ field: 'query', message: 'holds a key' }] } });
  }
  if (principal === null) throw new AppError('UNAUTHENTICATED', 'Send a good key as Authorization: Bearer <key>.');
  if (req.method === 'GET') for (const name of ['variables', 'extensions']) assertJson(name, url.searchParams.get(name));
  if (req.method !== 'POST') return null;
  const accepted = await readRequestBody(exchange);
  Object.assign(req, { body: accepted.body });
  return accepted;
}

function wantsPage({ req, url }: Exchange): boolean {
  return (req.method === 'GET' || req.method === 'HEAD') && !url.searchParams.has('query') && (req.headers.accept ?? '').includes('text/html');
}

/** Serves `/graphql` over HTTP: operations, subscriptions as server-sent events, and the page for browsers. */
export function createGraphqlHandler({ graphql, page, onRevoked }: GraphqlHttpOptions): ExchangeHandler {
  return async (exchange) => {
    const { req, res, url, requestId, principal } = exchange;
    if (url.pathname !== '/graphql' && url.pathname !== '/graphql/') throw new AppError('ROUTE_NOT_FOUND', 'There is nothing at this path.');
    if (wantsPage(exchange)) {
      await page.send(exchange);
      return;
    }
    let accepted: Awaited<ReturnType<typeof acceptRequest>>;
    try {
      accepted = await acceptRequest(exchange);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      await sendGraphqlError(exchange, error);
      return;
    }
    const signal = responseSignal(res);
    if (accepted && res.closed) accepted.giveBack();
    else if (accepted) signal.addEventListener('abort', accepted.giveBack, { once: true });
    if (principal) onRevoked(principal, signal, () => res.destroy());
    watchStall(res, signal);
    const caller = { principal, requestId, peer: peerOf(req), signal };
    acceptSomething(exchange);
    const body = accepted?.body;
    if (body && req.headers.accept?.includes('text/event-stream') && (await streamSubscription(exchange, body, graphql, caller))) return;
    await graphql.yoga.handle(req, res, caller);
  };
}
