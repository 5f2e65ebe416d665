/** The Hub's fixed windows: told on every answer, enforced only where a test sets a quota. */
import type { Exchange } from './http-double.ts';
import { sendJson } from './send.ts';

export type RateLimitOptions = { api?: number; resolvers?: number; windowSeconds?: number };

/** What anonymous callers get. */
const TOLD_QUOTAS = { api: 500, resolvers: 3000 };

export type RateLimiter = { admit(exchange: Exchange): Promise<boolean> };

export function createRateLimiter({ api, resolvers, windowSeconds = 300 }: RateLimitOptions): RateLimiter {
  const enforced = { api, resolvers };
  let windowEndsAt = 0;
  let used = { api: 0, resolvers: 0 };
  return {
    admit: async (exchange) => {
      const bucket = /\/(resolve|raw|resolve-cache)\//.test(exchange.path) ? 'resolvers' : 'api';
      if (Date.now() >= windowEndsAt) {
        windowEndsAt = Date.now() + windowSeconds * 1000;
        used = { api: 0, resolvers: 0 };
      }
      used[bucket] += 1;
      const quota = enforced[bucket] ?? TOLD_QUOTAS[bucket];
      const resetSeconds = Math.max(1, Math.ceil((windowEndsAt - Date.now()) / 1000));
      exchange.res.setHeader('ratelimit', `"${bucket}";r=${Math.max(0, quota - used[bucket])};t=${resetSeconds}`);
      exchange.res.setHeader('ratelimit-policy', `"fixed window";"${bucket}";q=${quota};w=${windowSeconds}`);
      if (enforced[bucket] === undefined || used[bucket] <= quota) return true;
      await sendJson(exchange, { error: 'We had to rate limit you. Please try again later.' }, { status: 429 });
      return false;
    },
  };
}
