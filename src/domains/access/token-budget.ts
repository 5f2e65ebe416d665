import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../../shared/clock.ts';
import { AppError } from '../../shared/errors.ts';
import type { TokenBudget } from '../../shared/key-limits.ts';
import type { Logger } from '../../shared/logger.ts';
import type { TokenUsageRepository } from './token-usage.repository.ts';

export type TokenBudgetDeps = { repository: TokenUsageRepository; clock: Clock; logger: Logger };

const dayMs = 86_400_000;
const triesMax = 3;
const retryAfterMs = 200;

export function createTokenBudget({ repository, clock, logger }: TokenBudgetDeps): TokenBudget {
  return {
    async payerOf({ keyId, limits }) {
      const max = limits?.tokensPerDay ?? null;
      if (max === null) return null;
      const now = clock.now();
      const used = await repository.used(keyId, dayOf(now));
      if (used < max) return { keyId };
      const retryAfterSeconds = Math.ceil((dayMs - (now.getTime() % dayMs)) / 1_000);
      throw new AppError('QUOTA_EXCEEDED', `This key may use ${max} tokens a day, and has; it may go on after midnight UTC.`, { details: { limit: max, used }, retryAfterSeconds });
    },
    async spend(payer, tokens) {
      if (payer === null || tokens <= 0) return;
      const day = dayOf(clock.now());
      for (let attempt = 1; ; attempt += 1) {
        try {
          await repository.add(payer.keyId, day, tokens);
          return;
        } catch (err) {
          if (attempt < triesMax) {
            await delay(retryAfterMs);
            continue;
          }
          logger.error({ err, keyId: payer.keyId, tokens }, 'tokens of an answer could not be counted for its key');
          return;
        }
      }
    },
  };
}

export function dayOf(time: Date): string {
  return time.toISOString().slice(0, 10);
}
