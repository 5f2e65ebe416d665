import { defineEntity, p } from '@mikro-orm/core';
import { alertComparisons, alertMetrics, alertTargetKinds } from './alert-metrics.ts';
import { alertStatuses, deliveryStatuses } from './alert.machine.ts';
import { alertEvents, alertSeverities, resolveReasons } from './types.ts';

const AlertRuleSchema = defineEntity({
  name: 'AlertRule',
  tableName: 'alert_rules',
  properties: {
    id: p.uuid().primary(),
    name: p.string(),
    metric: p.enum(alertMetrics),
    comparison: p.enum(alertComparisons).nullable(),
    threshold: p.double().$type<number>().nullable(),
    forSeconds: p.integer(),
    /** Path, UUID or id of the one thing that is watched; null = all. */
    target: p.text().nullable(),
    severity: p.enum(alertSeverities),
    enabled: p.boolean(),
    /** Null = all that there are. */
    channels: p.json<readonly string[] | null>().nullable(),
    createdBy: p.string(),
    createdAt: p.datetime(),
    updatedAt: p.datetime(),
  },
});

/** What is watched, and from when on it is told. */
export class AlertRule extends AlertRuleSchema.class {}
AlertRuleSchema.setClass(AlertRule);

const AlertRuleSeedSchema = defineEntity({
  name: 'AlertRuleSeed',
  tableName: 'alert_rule_seeds',
  properties: { id: p.string().primary(), madeAt: p.datetime() },
});

/** A rule that comes with the service was made once: whoever deletes it does not get it again. */
export class AlertRuleSeed extends AlertRuleSeedSchema.class {}
AlertRuleSeedSchema.setClass(AlertRuleSeed);

const AlertSchema = defineEntity({
  name: 'Alert',
  tableName: 'alerts',
  indexes: [{ properties: ['status', 'id'] }, { properties: ['resolvedAt'] }],
  properties: {
    id: p.uuid().primary(),
    /** Rule and target while it is open, null afterwards: the unique index allows one open alert of both. */
    openKey: p.string().nullable().unique(),
    status: p.enum(alertStatuses),
    ruleId: p.uuid(),
    ruleName: p.string(),
    metric: p.enum(alertMetrics),
    comparison: p.enum(alertComparisons).nullable(),
    threshold: p.double().$type<number>().nullable(),
    severity: p.enum(alertSeverities),
    targetKind: p.enum(alertTargetKinds),
    targetId: p.text(),
    targetName: p.text(),
    host: p.string().nullable(),
    value: p.double().$type<number>().nullable(),
    message: p.text(),
    /** The process that measures it. */
    instanceId: p.uuid(),
    raisedAt: p.datetime(),
    acknowledgedAt: p.datetime().nullable(),
    acknowledgedBy: p.string().nullable(),
    resolvedAt: p.datetime().nullable(),
    resolvedReason: p.enum(resolveReasons).nullable(),
  },
});

/** What a rule has found. */
export class Alert extends AlertSchema.class {}
AlertSchema.setClass(Alert);

const AlertDeliverySchema = defineEntity({
  name: 'AlertDelivery',
  tableName: 'alert_deliveries',
  uniques: [{ properties: ['alertId', 'channel', 'event'] }],
  indexes: [{ properties: ['status', 'id'] }],
  properties: {
    id: p.uuid().primary(),
    alertId: p.uuid(),
    channel: p.string(),
    event: p.enum(alertEvents),
    status: p.enum(deliveryStatuses),
    /** Those that have ended. */
    attempts: p.integer(),
    error: p.text().nullable(),
    createdAt: p.datetime(),
    /** When it is tried again. */
    dueAt: p.datetime(),
    endedAt: p.datetime().nullable(),
  },
});

/** What one channel has to tell of an alert; written with the alert's own change, so that no crash loses it. */
export class AlertDelivery extends AlertDeliverySchema.class {}
AlertDeliverySchema.setClass(AlertDelivery);
