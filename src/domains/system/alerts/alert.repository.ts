import type { SqlEntityManager } from '@mikro-orm/sql';
import { isId, newId } from '../../../shared/ids.ts';
import type { Page, PageRequest } from '../../../shared/paging.ts';
import { readRow, readRowPage, readRows } from '../../../shared/persistence/read-rows.repository.ts';
import { StateEvent } from '../../../shared/persistence/state-event.entity.ts';
import { transition } from '../../../shared/persistence/transition.repository.ts';
import { insertOf } from '../../../shared/persistence/write-rows.repository.ts';
import { Alert, AlertDelivery } from './alert.entity.ts';
import { alertMachine, type AlertStatus } from './alert.machine.ts';
import type { AlertFilter, AlertSeverity, AlertView, ResolveReason } from './types.ts';

const listName = 'alerts';

/** Open ones at once, over all processes that behave; enough to see that everything is wrong. */
export const openMax = 1_000;

export type NewAlert = Pick<Alert, 'openKey' | 'ruleId' | 'ruleName' | 'metric' | 'comparison' | 'threshold' | 'severity' | 'targetKind' | 'targetId' | 'targetName' | 'host' | 'value' | 'message' | 'instanceId'>;
export type OpenAlert = { id: string; openKey: string; instanceId: string; view: AlertView };
/** What was written, with the deliveries that have to be made. */
export type Written = { id: string; deliveryIds: readonly string[] };

/** The only place that reads and writes rows of alerts; their deliveries are written in the same transactions. */
export class AlertRepository {
  readonly #em: () => SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = () => em.fork();
  }

  /** Null when the same is open already, whoever raised it, and when the rule is gone or off: nothing is written then. */
  async raise(alert: NewAlert, channels: readonly string[], at: Date): Promise<Written | null> {
    const id = newId();
    return await this.#em().transactional(async (tx) => {
      const [rule] = await tx.execute<unknown[]>('select 1 from alert_rules where id = ? and enabled for share', [alert.ruleId]);
      if (!rule) return null;
      const { text, values } = insertOf(tx, Alert, [{ ...alert, id, status: 'firing', raisedAt: at }]);
      const raised = await tx.execute<unknown[]>(`${text} on conflict (open_key) do nothing returning id`, [...values]);
      if (raised.length === 0) return null;
      tx.create(StateEvent, { kind: alertMachine.name, subjectId: id, fromState: null, toState: 'firing', reason: alert.ruleName, at });
      return { id, deliveryIds: addDeliveries(tx, { alertId: id, event: 'raised', at }, channels) };
    });
  }

  /** Null when it is over already. Those who were told that it was raised are told. */
  async resolve(id: string, reason: ResolveReason, at: Date): Promise<Written | null> {
    return await this.#em().transactional(async (tx) => {
      const patch = { openKey: null, resolvedAt: at, resolvedReason: reason };
      const left = await transition<AlertStatus, Alert>(tx, Alert, { machine: alertMachine, id, to: 'resolved', at, reason, patch });
      if (left === null) return null;
      const told = await readRows(tx, AlertDelivery, 'where alert_id = ? and event = ?', [id, 'raised']);
      return { id, deliveryIds: addDeliveries(tx, { alertId: id, event: 'resolved', at }, told.map(({ channel }) => channel)) };
    });
  }

  /** False when it is not firing. */
  async acknowledge(id: string, by: string, at: Date): Promise<boolean> {
    const patch = { acknowledgedAt: at, acknowledgedBy: by };
    return (await transition<AlertStatus, Alert>(this.#em(), Alert, { machine: alertMachine, id, to: 'acknowledged', at, reason: by, patch })) !== null;
  }

  /** False when somebody else was quicker, or it is over. */
  async takeOver(id: string, from: string, to: string): Promise<boolean> {
    return (await this.#em().nativeUpdate(Alert, { id, instanceId: from, openKey: { $ne: null } }, { instanceId: to })) > 0;
  }

  async find(id: string): Promise<AlertView | null> {
    const row = isId(id) ? await readRow(this.#em(), Alert, [['id = ?', id]]) : null;
    return row && toView(row);
  }

  async list({ status }: AlertFilter, page: PageRequest): Promise<Page<AlertView>> {
    const { items, ...rest } = await readRowPage(this.#em(), Alert, { list: listName, page, matching: [['status = ?', status]] });
    return { ...rest, items: items.map(toView) };
  }

  /** Oldest first. */
  async open(): Promise<OpenAlert[]> {
    const rows = await readRows(this.#em(), Alert, 'where open_key is not null order by id limit ?', [openMax]);
    return rows.map((row) => ({ id: row.id, openKey: row.openKey ?? '', instanceId: row.instanceId, view: toView(row) }));
  }

  async countOpen(): Promise<ReadonlyMap<AlertSeverity, number>> {
    const rows = await this.#em().execute<{ severity: AlertSeverity; count: string | number }[]>('select severity, count(*) as count from alerts where open_key is not null group by severity');
    return new Map(rows.map(({ severity, count }) => [severity, Number(count)]));
  }

  /** Removes those that are over for so long, and of the others all but the newest `keptMax`. Answers how many went. */
  async purge(before: Date, keptMax: number): Promise<number> {
    const em = this.#em();
    const over = 'select id from alerts where resolved_at is not null';
    const old = `select id from alerts where resolved_at < ? union (${over} order by id desc offset ?)`;
    return await em.transactional(async (tx) => {
      await tx.execute(`delete from alert_deliveries where alert_id in (${old})`, [before, keptMax]);
      const gone = await tx.execute<unknown[]>(`delete from alerts where id in (${old}) returning id`, [before, keptMax]);
      return gone.length;
    });
  }
}

function addDeliveries(tx: SqlEntityManager, { alertId, event, at }: { alertId: string; event: AlertDelivery['event']; at: Date }, channels: readonly string[]): string[] {
  return channels.map((channel) => {
    const id = newId();
    tx.create(AlertDelivery, { id, alertId, channel, event, status: 'pending', attempts: 0, error: null, createdAt: at, dueAt: at, endedAt: null });
    return id;
  });
}

function toView(row: Readonly<Alert>): AlertView {
  const { id, ruleId, ruleName, metric, comparison, threshold, severity, status, value, message, raisedAt, acknowledgedAt, acknowledgedBy, resolvedAt, resolvedReason } = row;
  return {
    id,
    ruleId,
    ruleName,
    metric,
    comparison: comparison ?? null,
    threshold: threshold ?? null,
    severity,
    status,
    target: { kind: row.targetKind, id: row.targetId, name: row.targetName, host: row.host ?? null },
    value: value ?? null,
    message,
    raisedAt,
    acknowledgedAt: acknowledgedAt ?? null,
    acknowledgedBy: acknowledgedBy ?? null,
    resolvedAt: resolvedAt ?? null,
    resolvedReason: resolvedReason ?? null,
  };
}
