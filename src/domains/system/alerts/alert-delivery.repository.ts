import type { SqlEntityManager } from '@mikro-orm/sql';
import { isId } from '../../../shared/ids.ts';
import { marksOf, readRow, readRows } from '../../../shared/persistence/read-rows.repository.ts';
import { transition } from '../../../shared/persistence/transition.repository.ts';
import { AlertDelivery } from './alert.entity.ts';
import { deliveryMachine, type DeliveryStatus } from './alert.machine.ts';
import type { AlertDeliveryView } from './types.ts';

export type DeliveryRow = Readonly<AlertDelivery>;

/** Far more than wait at once: alerts that are open are bounded, and so are the channels. */
const manyMax = 10_000;

/** The only place that changes rows of deliveries; `AlertRepository` makes them. */
export class AlertDeliveryRepository {
  readonly #em: () => SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = () => em.fork();
  }

  async find(id: string): Promise<DeliveryRow | null> {
    return isId(id) ? await readRow(this.#em(), AlertDelivery, [['id = ?', id]]) : null;
  }

  async ofAlerts(alertIds: readonly string[]): Promise<AlertDeliveryView[]> {
    const ids = alertIds.filter(isId);
    if (ids.length === 0) return [];
    const rows = await readRows(this.#em(), AlertDelivery, `where alert_id in (${marksOf(ids)}) order by id limit ?`, [...ids, manyMax]);
    return rows.map(({ id, alertId, channel, event, status, attempts, error }) => ({ id, alertId, channel, event, status, attempts, error: error ?? null }));
  }

  /** Oldest first. */
  async pending(): Promise<DeliveryRow[]> {
    return await readRows(this.#em(), AlertDelivery, 'where status = ? order by id limit ?', ['pending', manyMax]);
  }

  async end(id: string, to: Exclude<DeliveryStatus, 'pending'>, { attempts, error, at }: { attempts: number; error: string | null; at: Date }): Promise<void> {
    await transition<DeliveryStatus, AlertDelivery>(this.#em(), AlertDelivery, { machine: deliveryMachine, id, to, at, patch: { attempts, error, endedAt: at }, ...(error === null ? {} : { reason: error }) });
  }

  /** Of one that waits; of others nothing. */
  async postpone(id: string, { attempts, error, dueAt }: { attempts: number; error: string; dueAt: Date }): Promise<void> {
    await this.#em().nativeUpdate(AlertDelivery, { id, status: 'pending' }, { attempts, error, dueAt });
  }
}
