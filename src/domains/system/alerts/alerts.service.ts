import type { Clock } from '../../../shared/clock.ts';
import { AppError } from '../../../shared/errors.ts';
import type { EventBus } from '../../../shared/event-bus.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { Page, PageRequest } from '../../../shared/paging.ts';
import type { Principal } from '../../../shared/principal.ts';
import type { ResourcesSample } from '../../../shared/resources-sample.ts';
import type { AlertDeliveryRepository } from './alert-delivery.repository.ts';
import { metricTraits } from './alert-metrics.ts';
import type { AlertRepository } from './alert.repository.ts';
import { parseChangeRule, parseCreateRule, type ParsedRule } from './alert-rule.input.ts';
import { rulesMax, type AlertRuleRepository } from './alert-rule.repository.ts';
import type { DeploymentsToWatch } from './followers.ts';
import { alertSeverities, type AlertDeliveryView, type AlertFilter, type AlertRuleView, type Alerts, type AlertSeverity, type AlertView, type ChangeAlertRule, type CreateAlertRule } from './types.ts';
import { watchRaised } from './watch-raised.ts';

export type AlertsServiceDeps = {
  alerts: AlertRepository;
  rules: AlertRuleRepository;
  deliveries: AlertDeliveryRepository;
  channelIds: readonly string[];
  events: EventBus;
  deployments: Pick<DeploymentsToWatch, 'find'>;
  /** What is measured now. */
  resources: () => Promise<ResourcesSample>;
  clock: Clock;
  logger: Logger;
};

export class AlertsService implements Alerts {
  readonly #deps: AlertsServiceDeps;

  constructor(deps: AlertsServiceDeps) {
    this.#deps = deps;
  }

  async list(filter: AlertFilter, page: PageRequest): Promise<Page<AlertView>> {
    return await this.#deps.alerts.list(filter, page);
  }

  async find(id: string): Promise<AlertView | null> {
    return await this.#deps.alerts.find(id);
  }

  async deliveriesOf(alertIds: readonly string[]): Promise<readonly AlertDeliveryView[]> {
    return await this.#deps.deliveries.ofAlerts(alertIds);
  }

  async countOpen(): Promise<ReadonlyMap<AlertSeverity, number>> {
    const counted = await this.#deps.alerts.countOpen();
    return new Map(alertSeverities.map((severity) => [severity, counted.get(severity) ?? 0]));
  }

  async acknowledge(id: string, principal: Principal): Promise<AlertView> {
    const { alerts, clock, events } = this.#deps;
    if (await alerts.acknowledge(id, principal.owner, clock.now())) {
      events.publish('alert.changed', id, { alertId: id, status: 'acknowledged' });
      this.#log('an alert was acknowledged', { alertId: id }, principal);
    }
    const alert = await alerts.find(id);
    if (!alert) throw new AppError('NOT_FOUND', 'There is no such alert.');
    if (alert.status === 'resolved') throw new AppError('INVALID_STATE', 'This alert is over already.', { details: { status: 'resolved', allowed: ['firing'] } });
    return alert;
  }

  async *watchRaised(signal: AbortSignal): AsyncIterable<AlertView> {
    const { events, alerts } = this.#deps;
    yield* watchRaised({ events, open: async () => (await alerts.open()).map(({ view }) => view), find: (id) => alerts.find(id) }, signal);
  }

  async rules(): Promise<readonly AlertRuleView[]> {
    return await this.#deps.rules.list();
  }

  async findRule(id: string): Promise<AlertRuleView | null> {
    return await this.#deps.rules.find(id);
  }

  async createRule(input: CreateAlertRule, principal: Principal): Promise<AlertRuleView> {
    const { rules, channelIds, clock } = this.#deps;
    const parsed = parseCreateRule(input, channelIds);
    await this.#assertTarget(parsed);
    const rule = await rules.create({ ...parsed, createdBy: principal.owner }, clock.now());
    if (!rule) throw new AppError('INVALID_STATE', `There are ${rulesMax} rules already; delete one first.`, { details: { status: 'full', allowed: [] } });
    this.#changed('a rule of alerts was made', rule.id, principal);
    return rule;
  }

  async updateRule(id: string, change: ChangeAlertRule, principal: Principal): Promise<AlertRuleView> {
    const { rules, channelIds, clock } = this.#deps;
    const before = await this.#rule(id);
    const parsed = parseChangeRule(before, change, channelIds);
    if (parsed.target !== before.target) await this.#assertTarget(parsed);
    const { metric: _metric, ...columns } = parsed;
    const rule = await rules.update(id, columns, clock.now());
    if (!rule) throw noRule();
    this.#changed('a rule of alerts was changed', id, principal);
    return rule;
  }

  async deleteRule(id: string, principal: Principal): Promise<AlertRuleView> {
    const rule = await this.#rule(id);
    if (!(await this.#deps.rules.remove(rule.id))) throw noRule();
    this.#changed('a rule of alerts was deleted', id, principal);
    return rule;
  }

  channels(): readonly string[] {
    return this.#deps.channelIds;
  }

  async #rule(id: string): Promise<AlertRuleView> {
    const rule = await this.#deps.rules.find(id);
    if (!rule) throw noRule();
    return rule;
  }

  /** A rule that watches what is not there would look as if all were well. */
  async #assertTarget({ metric, target }: ParsedRule): Promise<void> {
    if (target === null) return;
    const { target: kind } = metricTraits[metric];
    if (kind === 'deployment') {
      if (!(await this.#deps.deployments.find(target))) throw new AppError('NOT_FOUND', 'There is no such deployment.');
      return;
    }
    const { disks, gpus } = await this.#deps.resources();
    const known = kind === 'volume' ? disks.flatMap(({ path, purpose }) => [path, purpose]) : gpus.map(({ uuid }) => uuid);
    if (known.includes(target)) return;
    const names = [...new Set(known)].join(', ') || 'none';
    throw new AppError('NOT_FOUND', kind === 'volume' ? `There is no such volume; there are ${names}.` : `There is no graphics card with this UUID; there are ${names}.`);
  }

  #changed(message: string, ruleId: string, principal: Principal): void {
    this.#deps.events.publish('alert.rules_changed', ruleId, { ruleId });
    this.#log(message, { ruleId }, principal);
  }

  #log(message: string, fields: Readonly<Record<string, string>>, principal: Principal): void {
    this.#deps.logger.info({ ...fields, by: principal.keyId, owner: principal.owner }, message);
  }
}

function noRule(): AppError {
  return new AppError('NOT_FOUND', 'There is no such rule.');
}
