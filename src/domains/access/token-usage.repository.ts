import type { SqlEntityManager } from '@mikro-orm/sql';
import { insertOf, runTogether } from '../../shared/persistence/write-rows.repository.ts';
import { TokenUsage } from './token-usage.entity.ts';

export class TokenUsageRepository {
  readonly #em: SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = em;
  }

  async used(keyId: string, day: string): Promise<number> {
    const row = await this.#em.fork().findOne(TokenUsage, { keyId, day });
    return row?.tokens ?? 0;
  }

  /** Processes that add at once lose nothing of each other. */
  async add(keyId: string, day: string, tokens: number): Promise<void> {
    const em = this.#em.fork();
    const { text, values } = insertOf(em, TokenUsage, [{ keyId, day, tokens }]);
    await runTogether(em, [{ text: `${text} on conflict (key_id, day) do update set tokens = token_usage.tokens + excluded.tokens`, values }]);
  }

  /** Removes the days before `day`; answers how many. */
  async purge(day: string): Promise<number> {
    return await this.#em.fork().nativeDelete(TokenUsage, { day: { $lt: day } });
  }
}
