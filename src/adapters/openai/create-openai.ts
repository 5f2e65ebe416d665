import type { RelayRequest, Relays } from '../../domains/chat/relay/types.ts';
import type { Deployments } from '../../domains/deployments/types.ts';
import type { AuditLog } from '../../shared/audit-log.ts';
import { AppError, validationFailed } from '../../shared/errors.ts';
import { hasRole, hasScope, type Principal, type Role } from '../../shared/principal.ts';
import { readJsonObject } from '../http/body.ts';
import { hasCredentialInUrl } from '../http/credential.ts';
import { sendJson } from '../http/error-response.ts';
import { defaultStalledMsMax } from '../http/event-stream.ts';
import type { Exchange, ExchangeHandler } from '../http/exchange.ts';
import type { OnRevoked } from '../http/key-watch.ts';
import { originOf, recordDenied } from '../http/origin.ts';
import { responseSignal } from '../http/response-signal.ts';
import type { HttpMount } from '../server.ts';
import { BodyBudget } from '../http/body-budget.ts';
import { toBase64Embeddings } from './embeddings.ts';
import { getModel, listModels } from './models.ts';
import { sendOpenAiError } from './openai-errors.ts';
import { parseBody } from './parse-request.ts';
import { recordRequestOf } from './recording.ts';
import { chatCompletionBody, completionBody, embeddingsBody } from './request-schemas.ts';
import { createCollectingSink, createResponseSink } from './sinks.ts';

export type OpenAiOptions = {
  deployments: Pick<Deployments, 'list' | 'findByName'>;
  relays: Relays;
  audit: AuditLog;
  /** Tells a stream that its key stopped being good. */
  onRevoked: OnRevoked;
  /** A reader of a stream that takes nothing for so long is cut. */
  stalledMsMax?: number;
};

/** Pictures travel within the body, as base64. */
const bodyBytesMax = 32 * 1024 * 1024;
const heldBytesMax = 256 * 1024 * 1024;
const smallBytes = 256 * 1024;

type Call = { exchange: Exchange; principal: Principal; given: Record<string, unknown> };
type Asked = { request: RelayRequest; ignored: readonly string[]; isBase64?: boolean };

/** The routes of OpenAI's API below `/v1`: the model is the name of a deployment. */
export function createOpenAi(options: OpenAiOptions): { http: readonly HttpMount[] } {
  const handle = createHandler(options, new BodyBudget({ bytesMax: bodyBytesMax, heldBytesMax, smallBytes }));
  return { http: [{ prefix: '/v1', handle, sendError: sendOpenAiError }] };
}

const asks: Readonly<Record<string, (call: Call) => Asked>> = {
  '/v1/chat/completions': ({ exchange: { req }, given }) => {
    const { body, ignored } = parseBody(chatCompletionBody, given);
    return { request: { model: body.model, route: '/v1/chat/completions', body, isStream: body.stream === true, record: recordRequestOf(req, body) }, ignored };
  },
  '/v1/completions': ({ given }) => {
    const { body, ignored } = parseBody(completionBody, given);
    return { request: { model: body.model, route: '/v1/completions', body, isStream: body.stream === true, record: null }, ignored };
  },
  '/v1/embeddings': ({ given }) => {
    const { body, ignored } = parseBody(embeddingsBody, given);
    return { request: { model: body.model, route: '/v1/embeddings', body, isStream: false, record: null }, ignored, isBase64: body.encoding_format === 'base64' };
  },
};

function createHandler(options: OpenAiOptions, budget: BodyBudget): ExchangeHandler {
  return async (exchange) => {
    const { req, res, url } = exchange;
    const principal = requireKey(exchange);
    if (hasCredentialInUrl(url)) throw validationFailed([{ field: 'query', message: 'a key is never taken from a URL' }]);
    const path = url.pathname.replace(/\/$/, '');
    const requireRole = (role: Role): void => {
      const missing = hasRole(principal, role) ? missingScope(principal, role) : `the role ${role}`;
      if (missing === null) return;
      recordDenied(options.audit, principal, { kind: 'route', id: `${req.method ?? ''} ${path}` }, originOf(req));
      throw new AppError('FORBIDDEN', `This needs a key with ${missing}.`);
    };
    if (path === '/v1/models' || path.startsWith('/v1/models/')) {
      assertMethod(req.method, 'GET');
      requireRole('VIEWER');
      const name = decodeName(path.slice('/v1/models/'.length));
      sendJson(res, 200, name === '' ? await listModels(options.deployments, principal) : await getModel(options.deployments, name, principal));
      return;
    }
    const ask = Object.hasOwn(asks, path) ? asks[path] : undefined;
    if (!ask) throw new AppError('ROUTE_NOT_FOUND', `There is no such route: ${Object.keys(asks).join(', ')} and /v1/models are served here.`);
    assertMethod(req.method, 'POST');
    requireRole('USER');
    const giveBack = budget.take(req);
    try {
      const given = await readJsonObject(req, exchange.signal, bodyBytesMax);
      await answer(ask({ exchange, principal, given }), { exchange, principal, given }, options);
    } finally {
      giveBack();
    }
  };
}

async function answer({ request, ignored, isBase64 }: Asked, { exchange, principal }: Call, { relays, onRevoked, stalledMsMax = defaultStalledMsMax }: OpenAiOptions): Promise<void> {
  const { res, signal } = exchange;
  onRevoked(principal, responseSignal(res), () => res.destroy());
  if (isBase64) {
    const sink = createCollectingSink(exchange, { ignored, stalledMsMax });
    await relays.relay(request, sink, principal, signal);
    sink.finish(toBase64Embeddings);
    return;
  }
  await relays.relay(request, createResponseSink(exchange, { ignored, stalledMsMax }), principal, signal);
  res.end();
}

function requireKey({ principal }: Exchange): Principal {
  if (principal === null) throw new AppError('UNAUTHENTICATED', 'Send a good key as Authorization: Bearer <key>.');
  return principal;
}

/** The models are for whoever may ask them, and for whoever may look at deployments. */
function missingScope(principal: Principal, role: Role): string | null {
  if (hasScope(principal, 'chat') || (role === 'VIEWER' && hasScope(principal, 'deployments:read'))) return null;
  return 'the scope chat';
}

function assertMethod(method: string | undefined, allowed: 'GET' | 'POST'): void {
  if (method === allowed || (allowed === 'GET' && method === 'HEAD')) return;
  throw new AppError('METHOD_NOT_ALLOWED', `This route takes ${allowed}.`, { details: { allowed: [allowed] } });
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new AppError('VALIDATION_FAILED', 'The path is not valid percent-encoded UTF-8.', { cause });
  }
}
