import { createGate, type Gate } from '../../../shared/async.ts';
import type { Clock } from '../../../shared/clock.ts';
import type { EventBus } from '../../../shared/event-bus.ts';
import type { Instances } from '../../../shared/instances.ts';
import type { Logger } from '../../../shared/logger.ts';
import { openMax, type AlertRepository, type OpenAlert, type Written } from './alert.repository.ts';
import type { AlertRuleRepository } from './alert-rule.repository.ts';
import { readingKey, type Board } from './board.ts';
import { describeAlert } from './describe-alert.ts';
import { judge, noMemory, verdictOf, type Memory } from './judge.ts';
import { isWatched, keyOfTarget, type Reading } from './readings.ts';
import type { AlertRuleView, AlertTarget, ResolveReason } from './types.ts';

export type EvaluatorDeps = {
  board: Board;
  rules: AlertRuleRepository;
  alerts: AlertRepository;
  events: EventBus;
  instances: Pick<Instances, 'self' | 'isAlive' | 'livesOn'>;
  clock: Clock;
  logger: Logger;
  /** Brings the board up to date about one target by asking its room: events may have been lost, or be on their way. */
  refresh: (target: AlertTarget) => Promise<void>;
  /** Ids of channels that a rule means; null = all. */
  channelsOf: (rule: Pick<AlertRuleView, 'channels'>) => readonly string[];
  /** Deliveries were written. */
  onDeliveries: (ids: readonly string[]) => void;
};

/** After the database has failed. */
const againMs = 5_000;

type Step = { kind: 'raise'; rule: AlertRuleView; reading: Reading; openKey: string } | { kind: 'resolve'; open: OpenAlert; reason: ResolveReason };

/**
 * Judges everything that rules watch whenever something is new, or a time that a rule names is over. One loop alone
 * writes; the unique index of open alerts decides between several processes, and what one machine measures is resolved
 * by the process that raised it.
 */
export class AlertEvaluator {
  readonly #deps: EvaluatorDeps;
  #rules: readonly AlertRuleView[] = [];
  #open = new Map<string, OpenAlert>();
  #memories = new Map<string, Memory>();
  #news: Gate = createGate();
  #isFullTold = false;

  constructor(deps: EvaluatorDeps) {
    this.#deps = deps;
  }

  /** Something may have to be done. */
  wake(): void {
    this.#news.open();
  }

  async readRules(): Promise<void> {
    const rules = (await this.#deps.rules.list()).filter(({ enabled }) => enabled);
    const before = new Map(this.#rules.map((rule) => [rule.id, rule.updatedAt.getTime()]));
    // What was remembered of a rule was measured by what it said then.
    const isSame = ({ id, updatedAt }: AlertRuleView): boolean => before.get(id) === updatedAt.getTime();
    const kept = new Set(rules.filter(isSame).map(({ id }) => id));
    this.#memories = new Map([...this.#memories].filter(([key]) => kept.has(ruleIdOf(key))));
    this.#rules = rules;
  }

  async readAlerts(): Promise<void> {
    this.#open = new Map((await this.#deps.alerts.open()).map((alert) => [alert.openKey, alert]));
  }

  /** Until the signal aborts; begins when the board was read. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const news = createGate();
      this.#news = news;
      const dueInMs = await this.#pass();
      await this.#untilNews(news, dueInMs, signal);
    }
  }

  /** What dead processes measured: taken over where this one measures the same, else ended. */
  async inherit(): Promise<void> {
    const { alerts, instances, board, clock } = this.#deps;
    const { self } = instances;
    const present = this.#presentKeys(board.readings(clock.monotonicMs()));
    for (const open of await alerts.open()) {
      const { host } = open.view.target;
      if (host === null || (await instances.isAlive(open.instanceId))) continue;
      const isMeasuredHere = host === self.host && present.has(readingKey(open.view.metric, open.view.target));
      if (isMeasuredHere) await alerts.takeOver(open.id, open.instanceId, self.id);
      else if (host === self.host ? board.isSampled : !(await instances.livesOn(host))) this.#tell(await alerts.resolve(open.id, 'target_gone', clock.now()), 'resolved');
    }
    await this.readAlerts();
    this.wake();
  }

  async #untilNews(news: Gate, dueInMs: number | null, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const slept = dueInMs === null ? null : this.#deps.clock.sleep(dueInMs, AbortSignal.any([signal, over.signal])).catch(() => undefined);
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true, signal: over.signal });
      if (signal.aborted) resolve();
    });
    await Promise.race([news.opened, aborted, ...(slept ? [slept] : [])]);
    over.abort();
  }

  /** Milliseconds until the next look is due without news; null = none is. */
  async #pass(): Promise<number | null> {
    const { logger, clock } = this.#deps;
    const { steps, dueAtMs } = this.#decide();
    try {
      for (const step of steps) await this.#carryOut(step);
    } catch (err) {
      logger.warn({ err }, 'alerts could not be stored; it is tried again');
      return againMs;
    }
    return dueAtMs === null ? null : Math.max(1, dueAtMs - clock.monotonicMs());
  }

  #decide(): { steps: Step[]; dueAtMs: number | null } {
    const nowMs = this.#deps.clock.monotonicMs();
    const readings = this.#deps.board.readings(nowMs);
    const byMetric = Map.groupBy(readings, ({ metric }) => metric);
    const memories = new Map<string, Memory>();
    const watched = new Set<string>();
    const steps: Step[] = [];
    let dueAtMs: number | null = null;
    for (const rule of this.#rules) {
      for (const reading of (byMetric.get(rule.metric) ?? []).filter((candidate) => isWatched(rule, candidate))) {
        const openKey = `${rule.id}/${keyOfTarget(reading.target)}`;
        watched.add(openKey);
        const open = this.#open.get(openKey);
        if (open && !this.#isOurs(open)) continue;
        const judged = judge(rule, { value: reading.value, isOpen: open !== undefined, memory: this.#memories.get(openKey) ?? noMemory, nowMs });
        memories.set(openKey, judged.memory);
        if (judged.dueAtMs !== null) dueAtMs = Math.min(dueAtMs ?? Infinity, judged.dueAtMs);
        if (judged.action === 'raise') steps.push({ kind: 'raise', rule, reading, openKey });
        if (judged.action === 'resolve' && open) steps.push({ kind: 'resolve', open, reason: 'recovered' });
      }
    }
    this.#memories = memories;
    return { steps: [...steps, ...this.#leftOver(watched, this.#presentKeys(readings))], dueAtMs };
  }

  /** Open alerts that nothing of the present says anything of: their rule or their target is no more. */
  #leftOver(watched: ReadonlySet<string>, present: ReadonlySet<string>): Step[] {
    const { board } = this.#deps;
    const ruleIds = new Set(this.#rules.map(({ id }) => id));
    return [...this.#open.values()].flatMap((open): Step[] => {
      if (watched.has(open.openKey)) return [];
      const { ruleId, metric, target } = open.view;
      // Whoever sees a rule go ends its alerts, wherever they were measured.
      if (!ruleIds.has(ruleId)) return [{ kind: 'resolve', open, reason: 'rule_changed' }];
      if (!this.#isOurs(open)) return [];
      if (present.has(readingKey(metric, target))) return [{ kind: 'resolve', open, reason: 'rule_changed' }];
      return board.isGone(metric, target, present) ? [{ kind: 'resolve', open, reason: target.kind === 'download' ? 'recovered' : 'target_gone' }] : [];
    });
  }

  async #carryOut(step: Step): Promise<void> {
    const { alerts, clock } = this.#deps;
    if (!(await this.#isConfirmed(step))) return;
    if (step.kind === 'raise') {
      await this.#raise(step);
      return;
    }
    this.#tell(await alerts.resolve(step.open.id, step.reason, clock.now()), 'resolved');
    this.#open.delete(step.open.openKey);
  }

  /** Several processes look at the same rows, each hearing of changes in its own time: the rows themselves decide. */
  async #isConfirmed(step: Step): Promise<boolean> {
    if (step.kind === 'resolve' && step.reason === 'rule_changed') return await this.#isRuleAsKnown(step.open.view.ruleId);
    const { target, metric } = step.kind === 'raise' ? step.reading : step.open.view;
    if (target.host !== null) return true;
    const { board, clock, refresh } = this.#deps;
    await refresh(target);
    const key = readingKey(metric, target);
    const now = board.readings(clock.monotonicMs()).find((reading) => readingKey(reading.metric, reading.target) === key);
    const verdict = now && now.value !== null ? verdictOf(step.kind === 'raise' ? step.rule : step.open.view, now.value) : null;
    return step.kind === 'raise' ? verdict === 'bad' : !now || verdict === 'good';
  }

  async #isRuleAsKnown(ruleId: string): Promise<boolean> {
    const changedAtMs = (): number | undefined => this.#rules.find(({ id }) => id === ruleId)?.updatedAt.getTime();
    const before = changedAtMs();
    await this.readRules();
    if (changedAtMs() === before) return true;
    this.wake();
    return false;
  }

  async #raise({ rule, reading, openKey }: Extract<Step, { kind: 'raise' }>): Promise<void> {
    const { alerts, instances, clock, channelsOf } = this.#deps;
    const { target, metric, value } = reading;
    if (this.#isFull()) return;
    const message = describeAlert(rule, reading);
    const { id: ruleId, name: ruleName, comparison, threshold, severity } = rule;
    const alert = { openKey, ruleId, ruleName, metric, comparison, threshold, severity, targetKind: target.kind, targetId: target.id, targetName: target.name, host: target.host, value: threshold === null ? null : value, message, instanceId: instances.self.id };
    const written = await alerts.raise(alert, channelsOf(rule), clock.now());
    this.#tell(written, 'firing');
    // Another process's as well: until it is known here it would be tried again.
    await this.readAlerts();
  }

  #isFull(): boolean {
    const isFull = this.#open.size >= openMax;
    if (isFull && !this.#isFullTold) this.#deps.logger.error({ open: this.#open.size }, 'so many alerts are open that no further ones are raised');
    this.#isFullTold = isFull;
    return isFull;
  }

  #tell(written: Written | null, status: string): void {
    if (!written) return;
    this.#deps.events.publish('alert.changed', written.id, { alertId: written.id, status });
    this.#deps.onDeliveries(written.deliveryIds);
  }

  /** What one machine measures only the process that raised it, or took it over, says to be well again. */
  #isOurs({ instanceId, view }: OpenAlert): boolean {
    return view.target.host === null || instanceId === this.#deps.instances.self.id;
  }

  #presentKeys(readings: readonly Reading[]): Set<string> {
    return new Set(readings.map(({ metric, target }) => readingKey(metric, target)));
  }
}

function ruleIdOf(openKey: string): string {
  return openKey.slice(0, openKey.indexOf('/'));
}
