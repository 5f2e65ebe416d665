import type { Page, PageRequest } from '../../../shared/paging.ts';
import type { Principal } from '../../../shared/principal.ts';
import type { AlertComparison, AlertMetric, AlertTargetKind } from './alert-metrics.ts';
import type { AlertStatus, DeliveryStatus } from './alert.machine.ts';

export const alertSeverities = ['info', 'warning', 'critical'] as const;
export type AlertSeverity = (typeof alertSeverities)[number];

export const alertEvents = ['raised', 'resolved'] as const;
export type AlertEvent = (typeof alertEvents)[number];

/** Why an alert is over: it is well again, nobody measures it any more, or its rule watches it no longer. */
export const resolveReasons = ['recovered', 'target_gone', 'rule_changed'] as const;
export type ResolveReason = (typeof resolveReasons)[number];

/** What an alert is about. */
export type AlertTarget = {
  kind: AlertTargetKind;
  /** A volume's path, a graphics card's UUID, a deployment's or download's id, a machine's name. */
  id: string;
  /** For people. */
  name: string;
  /** The machine that it is measured on; null for what belongs to none. */
  host: string | null;
};

export type AlertRuleView = {
  id: string;
  name: string;
  metric: AlertMetric;
  /** Null for states. */
  comparison: AlertComparison | null;
  threshold: number | null;
  forSeconds: number;
  /** Null = whatever the metric is measured of. */
  target: string | null;
  severity: AlertSeverity;
  enabled: boolean;
  /** Null = every channel that there is. */
  channels: readonly string[] | null;
  createdAt: Date;
  updatedAt: Date;
};

export type CreateAlertRule = Pick<AlertRuleView, 'name' | 'metric' | 'severity'> & Partial<Pick<AlertRuleView, 'comparison' | 'threshold' | 'forSeconds' | 'target' | 'enabled' | 'channels'>>;
/** What is left out stays. The metric stays always: another one is another rule. */
export type ChangeAlertRule = Partial<Pick<AlertRuleView, 'name' | 'comparison' | 'threshold' | 'forSeconds' | 'target' | 'severity' | 'enabled' | 'channels'>>;

export type AlertView = {
  id: string;
  /** Of a rule that may be gone; what it said then stands here too. */
  ruleId: string;
  ruleName: string;
  metric: AlertMetric;
  comparison: AlertComparison | null;
  threshold: number | null;
  severity: AlertSeverity;
  status: AlertStatus;
  target: AlertTarget;
  /** What was measured when it was raised; null for states. */
  value: number | null;
  message: string;
  raisedAt: Date;
  acknowledgedAt: Date | null;
  acknowledgedBy: string | null;
  resolvedAt: Date | null;
  resolvedReason: ResolveReason | null;
};

export type AlertDeliveryView = {
  id: string;
  alertId: string;
  channel: string;
  event: AlertEvent;
  status: DeliveryStatus;
  attempts: number;
  /** Why the last attempt failed; null when none did. */
  error: string | null;
};

export type AlertFilter = { status?: AlertStatus };

/** Use cases of alerts; `AlertsService` implements it. */
export type Alerts = {
  /** Newest first. */
  list(filter: AlertFilter, page: PageRequest): Promise<Page<AlertView>>;
  find(id: string): Promise<AlertView | null>;
  /** What was sent of each of these alerts, in one query. */
  deliveriesOf(alertIds: readonly string[]): Promise<readonly AlertDeliveryView[]>;
  /** Open alerts by severity; every severity is named. */
  countOpen(): Promise<ReadonlyMap<AlertSeverity, number>>;
  /** One that was acknowledged before is answered as it is. Throws NOT_FOUND, INVALID_STATE (resolved). */
  acknowledge(id: string, principal: Principal): Promise<AlertView>;
  /** The open alerts, oldest first, then each as it is raised: none twice, none left out. */
  watchRaised(signal: AbortSignal): AsyncIterable<AlertView>;
  /** All rules, oldest first; 200 at most. */
  rules(): Promise<readonly AlertRuleView[]>;
  findRule(id: string): Promise<AlertRuleView | null>;
  /** Throws VALIDATION_FAILED, NOT_FOUND (target), INVALID_STATE (200 rules are there). */
  createRule(input: CreateAlertRule, principal: Principal): Promise<AlertRuleView>;
  /** The same, and NOT_FOUND for the rule. Open alerts that it does not watch any more are resolved. */
  updateRule(id: string, change: ChangeAlertRule, principal: Principal): Promise<AlertRuleView>;
  /** Its open alerts are resolved. Throws NOT_FOUND. */
  deleteRule(id: string, principal: Principal): Promise<AlertRuleView>;
  /** Ids of the channels that alerts can be sent by. */
  channels(): readonly string[];
};
