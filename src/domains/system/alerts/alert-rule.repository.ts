import type { SqlEntityManager } from '@mikro-orm/sql';
import { isId, newId } from '../../../shared/ids.ts';
import { readRow, readRows } from '../../../shared/persistence/read-rows.repository.ts';
import { insertOf } from '../../../shared/persistence/write-rows.repository.ts';
import { AlertRule, AlertRuleSeed } from './alert.entity.ts';
import type { AlertRuleView, ChangeAlertRule } from './types.ts';

/** Everything that happens is judged by each of them. */
export const rulesMax = 200;

export type NewRule = Omit<AlertRuleView, 'id' | 'createdAt' | 'updatedAt'> & { createdBy: string };

/** The only place that reads and writes rows of rules. */
export class AlertRuleRepository {
  readonly #em: () => SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = () => em.fork();
  }

  /** Null when there are as many as may be. */
  async create(rule: NewRule, at: Date): Promise<AlertRuleView | null> {
    return await this.#em().transactional(async (tx) => {
      // Two at once must not both take the last place.
      await tx.execute('lock table alert_rules in share row exclusive mode');
      if ((await tx.count(AlertRule, {})) >= rulesMax) return null;
      const row = { ...rule, id: newId(), createdAt: at, updatedAt: at };
      tx.create(AlertRule, row);
      return toView(row);
    });
  }

  /** Makes a rule the first time that its seed is met by any process on this database; false ever after. */
  async plant(seed: string, rule: NewRule, at: Date): Promise<boolean> {
    return await this.#em().transactional(async (tx) => {
      const { text, values } = insertOf(tx, AlertRuleSeed, [{ id: seed, madeAt: at }]);
      const first = await tx.execute<unknown[]>(`${text} on conflict (id) do nothing returning id`, [...values]);
      if (first.length > 0) tx.create(AlertRule, { ...rule, id: newId(), createdAt: at, updatedAt: at });
      return first.length > 0;
    });
  }

  async list(): Promise<AlertRuleView[]> {
    return (await readRows(this.#em(), AlertRule, 'order by id limit ?', [rulesMax + 100])).map(toView);
  }

  async find(id: string): Promise<AlertRuleView | null> {
    const row = isId(id) ? await readRow(this.#em(), AlertRule, [['id = ?', id]]) : null;
    return row && toView(row);
  }

  async update(id: string, change: ChangeAlertRule, at: Date): Promise<AlertRuleView | null> {
    await this.#em().nativeUpdate(AlertRule, { id }, { ...change, updatedAt: at });
    return await this.find(id);
  }

  /** False when it is gone already. */
  async remove(id: string): Promise<boolean> {
    return (await this.#em().nativeDelete(AlertRule, { id })) > 0;
  }
}

function toView({ id, name, metric, comparison, threshold, forSeconds, target, severity, enabled, channels, createdAt, updatedAt }: Readonly<Omit<AlertRule, 'createdBy'>>): AlertRuleView {
  return { id, name, metric, comparison: comparison ?? null, threshold: threshold ?? null, forSeconds, target: target ?? null, severity, enabled, channels: channels ?? null, createdAt, updatedAt };
}
