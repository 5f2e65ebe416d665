import { AppError, validationFailed } from '../../shared/errors.ts';
import { hasScope } from '../../shared/principal.ts';
import { hasCredentialInUrl } from './credential.ts';
import type { Exchange, ExchangeHandler } from './exchange.ts';
import { sendJson } from './error-response.ts';

/** Each rejects when its part does not answer. */
export type Checks = Readonly<Record<string, (signal: AbortSignal) => Promise<void>>>;
export type ReadinessChecks = {
  /** Without one of these nothing works. */
  needed: Checks;
  /** Without one of these everything works, some of it later. */
  useful?: Checks;
};

const checkTimeoutMs = 2_000;

function onlyGet({ req: { method }, url }: Pick<Exchange, 'req' | 'url'>): void {
  if (hasCredentialInUrl(url)) throw validationFailed([{ field: 'query', message: 'a key is never taken from a URL' }]);
  if (method !== 'GET' && method !== 'HEAD') throw new AppError('METHOD_NOT_ALLOWED', 'This path takes GET.', { details: { allowed: ['GET'] } });
}

/** `/ready`: 200 when every needed part answers, else 503; which one does not is told to callers with a key only. */
export function createReadinessHandler({ needed, useful = {} }: ReadinessChecks): ExchangeHandler {
  return async ({ req, res, url, principal, signal, logger }) => {
    onlyGet({ req, url });
    const within = AbortSignal.any([signal, AbortSignal.timeout(checkTimeoutMs)]);
    const look = async (checks: Checks): Promise<Record<string, 'ok' | 'failed'>> => {
      const results = Object.entries(checks).map(async ([name, check]) => {
        try {
          await check(within);
          return [name, 'ok'] as const;
        } catch (err) {
          logger.warn({ err, part: name }, 'does not answer');
          return [name, 'failed'] as const;
        }
      });
      return Object.fromEntries(await Promise.all(results));
    };
    const [main, more] = await Promise.all([look(needed), look(useful)]);
    const isReady = !Object.values(main).includes('failed');
    const status = isReady ? (Object.values(more).includes('failed') ? 'degraded' : 'ready') : 'not_ready';
    sendJson(res, isReady ? 200 : 503, { status, ...(principal && { checks: { ...main, ...more } }) }, isReady ? {} : { 'retry-after': '2' });
  };
}

/** `/metrics` in Prometheus' text format; figures about the machine are for callers with a key. */
export function createMetricsHandler(render: () => Promise<{ contentType: string; text: string }>): ExchangeHandler {
  return async ({ req, res, url, principal }) => {
    if (!principal) throw new AppError('UNAUTHENTICATED', 'Send a good key as Authorization: Bearer <key>.');
    if (!hasScope(principal, 'system:read')) throw new AppError('FORBIDDEN', 'This needs a key with the scope system:read.');
    onlyGet({ req, url });
    const { contentType, text } = await render();
    res.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-store' }).end(text);
  };
}
