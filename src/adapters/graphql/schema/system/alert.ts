import type { AlertComparison as Comparison, AlertMetric as Metric, AlertTargetKind as TargetKind } from '../../../../domains/system/alerts/alert-metrics.ts';
import type { AlertStatus as Status, DeliveryStatus } from '../../../../domains/system/alerts/alert.machine.ts';
import type { AlertDeliveryView, AlertEvent as Event, AlertRuleView, AlertSeverity as Severity, AlertTarget as Target, AlertView, ResolveReason } from '../../../../domains/system/alerts/types.ts';
import { isId } from '../../../../shared/ids.ts';
import { builder } from '../../builder.ts';
import { enumOf } from '../../enums.ts';

const role = 'VIEWER';
/** A handful of channels, each told twice. */
const deliveriesUsual = 4;

export const AlertMetric = enumOf<Metric>('AlertMetric', 'What a rule watches. The unit of its threshold is the last word of the name; those without one are states, which have no threshold.', {
  disk_free_bytes: 'What is free on a volume, in bytes.',
  disk_free_percent: 'What is free on a volume, 0 to 100 percent of its size.',
  memory_used_percent: 'Memory in use, 0 to 100 percent of what this service may have.',
  cpu_used_percent: 'How busy all processor cores together are, 0 to 100 percent.',
  gpu_memory_used_percent: 'Memory of a graphics card in use, 0 to 100 percent.',
  gpu_temperature_celsius: 'Temperature of a graphics card in degrees Celsius.',
  deployment_memory_bytes: 'Memory of a running deployment, in bytes.',
  deployment_failed: 'A deployment was given up. Over when it runs again, is stopped or is deleted.',
  deployment_unhealthy: 'A deployment does not answer as it should.',
  deployment_restarting: 'The engine of a deployment ended unexpectedly and is started again.',
  download_failed: 'A download was given up. Over when it is tried again or removed.',
  download_stalled_seconds: 'How long a running download has got nothing, in seconds.',
});

export const AlertComparison = enumOf<Comparison>('AlertComparison', 'On which side of the threshold it is bad.', { above: 'Above it.', below: 'Below it.' });

export const AlertSeverity = enumOf<Severity>('AlertSeverity', 'How bad it is.', { info: 'Worth knowing.', warning: 'Somebody should look at it.', critical: 'Something does not work.' });

export const AlertStatus = enumOf<Status>('AlertStatus', 'Where an alert stands.', {
  firing: 'It is so, and nobody has said that they saw it.',
  acknowledged: 'It is so, and somebody has seen it.',
  resolved: 'It is over. When it comes back, that is another alert.',
});

const AlertTargetKind = enumOf<TargetKind>('AlertTargetKind', 'What an alert is about.', {
  machine: 'A whole machine.',
  volume: 'A folder with the disk below it.',
  gpu: 'A graphics card.',
  deployment: 'A deployment.',
  download: 'A download.',
});

const AlertResolveReason = enumOf<ResolveReason>('AlertResolveReason', 'Why an alert is over.', {
  recovered: 'It is well again.',
  target_gone: 'What it was about is not there any more, or nobody measures it.',
  rule_changed: 'Its rule was changed, switched off or deleted.',
});

const AlertEvent = enumOf<Event>('AlertEvent', 'What is told of an alert.', { raised: 'That it was raised.', resolved: 'That it is over.' });

const AlertDeliveryStatus = enumOf<DeliveryStatus>('AlertDeliveryStatus', 'Where a delivery stands.', {
  pending: 'It waits, is under way, or is tried again later.',
  delivered: 'It arrived.',
  failed: 'It was given up: after seven attempts, or after a day without a process that has the channel.',
});

const AlertTarget = builder.objectRef<Target>('AlertTarget').implement({
  description: 'What an alert is about.',
  fields: (t) => ({
    kind: t.expose('kind', { type: AlertTargetKind, description: 'What it is.' }),
    targetId: t.exposeID('id', { description: 'Path of a volume, UUID of a graphics card, plain UUID of a deployment or download, name of a machine.' }),
    name: t.exposeString('name', { description: 'Its name for people.' }),
    host: t.exposeString('host', { nullable: true, description: 'The machine that it was measured on; null for what belongs to none.' }),
  }),
});

const AlertDelivery = builder.objectRef<AlertDeliveryView>('AlertDelivery').implement({
  description: 'What one channel had to tell of an alert.',
  fields: (t) => ({
    deliveryId: t.exposeID('id', { description: 'Its plain UUID, which receivers get too.' }),
    channel: t.exposeString('channel', { description: 'Id of the channel.' }),
    event: t.expose('event', { type: AlertEvent, description: 'What it tells.' }),
    status: t.expose('status', { type: AlertDeliveryStatus, description: 'Where it stands.' }),
    attempts: t.exposeInt('attempts', { description: 'How often it was tried.' }),
    error: t.exposeString('error', { nullable: true, description: 'Why the last attempt failed.' }),
  }),
});

export const AlertRule = builder.objectRef<AlertRuleView>('AlertRule');

builder.node(AlertRule, {
  description: 'What is watched, and from when on it is an alert.',
  authScopes: { role },
  id: { resolve: (rule) => rule.id },
  loadOne: (id, { services }) => (isId(id) ? services.alerts.findRule(id) : null),
  fields: (t) => ({
    ruleId: t.exposeID('id', { description: 'Its plain UUID.' }),
    name: t.exposeString('name', { description: 'Its name.' }),
    metric: t.expose('metric', { type: AlertMetric, description: 'What it watches.' }),
    comparison: t.expose('comparison', { type: AlertComparison, nullable: true, description: 'On which side of the threshold it is bad; null for states.' }),
    threshold: t.exposeFloat('threshold', { nullable: true, description: 'In the unit that ends the name of the metric; null for states.' }),
    forSeconds: t.exposeInt('forSeconds', { description: 'How long it must be so before an alert is raised, in seconds.' }),
    target: t.exposeString('target', { nullable: true, description: 'The one thing that it watches: plain UUID of a deployment, path of a volume, `data` or `models`, UUID of a graphics card. Null = all of them.' }),
    severity: t.expose('severity', { type: AlertSeverity, description: 'How bad its alerts are.' }),
    enabled: t.exposeBoolean('enabled', { description: 'Whether it raises any.' }),
    channels: t.stringList({ nullable: true, description: 'Ids of the channels that tell of its alerts; null = every channel that there is.', resolve: (rule) => rule.channels && [...rule.channels] }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'When it was last changed.' }),
  }),
});

export const Alert = builder.objectRef<AlertView>('Alert');

builder.node(Alert, {
  description: 'What a rule has found. There is one open alert of a rule and a target at most.',
  authScopes: { role },
  id: { resolve: (alert) => alert.id },
  loadOne: (id, { services }) => (isId(id) ? services.alerts.find(id) : null),
  fields: (t) => ({
    alertId: t.exposeID('id', { description: 'Its plain UUID.' }),
    status: t.expose('status', { type: AlertStatus, description: 'Where it stands.' }),
    severity: t.expose('severity', { type: AlertSeverity, description: 'How bad it is.' }),
    message: t.exposeString('message', { description: 'What was found, in one sentence for a person.' }),
    ruleId: t.exposeID('ruleId', { description: 'Plain UUID of its rule, which may be gone.' }),
    ruleName: t.exposeString('ruleName', { description: 'Name of its rule when it was raised.' }),
    metric: t.expose('metric', { type: AlertMetric, description: 'What the rule watches.' }),
    comparison: t.expose('comparison', { type: AlertComparison, nullable: true, description: 'As the rule said when it was raised; null for states.' }),
    threshold: t.exposeFloat('threshold', { nullable: true, description: 'As the rule said when it was raised; null for states.' }),
    value: t.exposeFloat('value', { nullable: true, description: 'What was measured when it was raised; null for states.' }),
    target: t.expose('target', { type: AlertTarget, description: 'What it is about.' }),
    raisedAt: t.expose('raisedAt', { type: 'DateTime', description: 'When it was raised.' }),
    acknowledgedAt: t.expose('acknowledgedAt', { type: 'DateTime', nullable: true, description: 'When somebody said that they saw it.' }),
    acknowledgedBy: t.exposeString('acknowledgedBy', { nullable: true, description: 'Owner of the key of whoever that was.' }),
    resolvedAt: t.expose('resolvedAt', { type: 'DateTime', nullable: true, description: 'When it was over.' }),
    resolvedReason: t.expose('resolvedReason', { type: AlertResolveReason, nullable: true, description: 'Why it is over.' }),
    deliveries: t.loadableGroup({
      type: AlertDelivery,
      complexity: { field: 1, multiplier: deliveriesUsual },
      description: 'What the channels were told of it.',
      load: async (ids: string[], { services }) => [...(await services.alerts.deliveriesOf(ids))],
      group: (delivery) => delivery.alertId,
      resolve: (alert) => alert.id,
    }),
  }),
});
