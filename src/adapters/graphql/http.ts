import { AppError, validationFailed } from '../../shared/errors.ts';
import { acceptedTypes } from '../http/accept.ts';
import { isJsonContentType, parseJsonObject, readBody } from '../http/body.ts';
import { hasCredentialInUrl } from '../http/credential.ts';
import { httpStatusOf, retryAfterSecondsOf, sendJson } from '../http/error-response.ts';
import type { Exchange, ExchangeHandler } from '../http/exchange.ts';
import type { OnRevoked } from '../http/key-watch.ts';
import { responseSignal } from '../http/response-signal.ts';
import type { Graphql } from './create-graphql.ts';
import { toWireError } from './errors.ts';
import { streamSubscription } from './event-stream.ts';
import type { GraphiqlPage } from './graphiql.ts';
import { watchStall } from './stall.ts';

export type GraphqlHttpOptions = { graphql: Graphql; page: GraphiqlPage; onRevoked: OnRevoked };

function sendGraphqlError({ req, res, requestId, logger }: Exchange, error: AppError): void {
  const retryAfter = retryAfterSecondsOf(error);
  if (!req.complete) {
    // The rest of a refused body is thrown away, so that the client gets to read the answer instead of a reset.
    res.setHeader('connection', 'close');
    req.resume();
  }
  sendJson(res, httpStatusOf[error.code], { errors: [toWireError(error, { requestId, logger })] }, {
    ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
    ...(error.code === 'UNAUTHENTICATED' ? { 'www-authenticate': 'Bearer' } : {}),
  });
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
async function acceptRequest({ req, url, principal, signal }: Exchange): Promise<Record<string, unknown> | null> {
  if (hasCredentialInUrl(url)) {
    throw new AppError('VALIDATION_FAILED', 'A key is never taken from a URL.', { details: { fields: [{ field: 'query', message: 'holds a key' }] } });
  }
  if (principal === null) throw new AppError('UNAUTHENTICATED', 'Send a good key as Authorization: Bearer <key>.');
  if (req.method === 'GET') for (const name of ['variables', 'extensions']) assertJson(name, url.searchParams.get(name));
  if (req.method !== 'POST') return null;
  // Other types are what a foreign page's form can send without being asked first.
  if (!isJsonContentType(req.headers['content-type']) || req.headers['content-encoding'] !== undefined) {
    throw new AppError('UNSUPPORTED_MEDIA_TYPE', 'Send the body as application/json in UTF-8, not encoded.');
  }
  const body = parseJsonObject(await readBody(req, signal));
  // Yoga would take an empty object for a body that has not been read yet.
  if (Object.keys(body).length === 0) throw validationFailed([{ field: 'query', message: 'is required' }]);
  Object.assign(req, { body });
  return body;
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
    let body: Record<string, unknown> | null;
    try {
      body = await acceptRequest(exchange);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      sendGraphqlError(exchange, error);
      return;
    }
    const signal = responseSignal(res);
    if (principal) onRevoked(principal, signal, () => res.destroy());
    watchStall(res, signal);
    const caller = { principal, requestId, signal };
    acceptSomething(exchange);
    if (body && req.headers.accept?.includes('text/event-stream') && (await streamSubscription(exchange, body, graphql, caller))) return;
    await graphql.yoga.handle(req, res, caller);
  };
}
