import type { ChangeAlertRule, CreateAlertRule } from '../../../../domains/system/alerts/types.ts';
import { builder } from '../../builder.ts';
import { principalOf } from '../../context.ts';
import { decodeGlobalId, toUuid } from '../../ids.ts';
import { payloadOf, resultOf } from '../mutation.ts';
import { InvalidStateError, NotFoundError, outcomeOf } from '../user-error.ts';
import { nameText, numberFrom, textList, textMax, trimmedText, wholeNumber } from '../validation.ts';
import { Alert, AlertComparison, AlertMetric, AlertRule, AlertSeverity } from './alert.ts';

const forSecondsMax = 86_400;
const pathMax = 4_096;

const texts = {
  comparison: 'On which side of the threshold it is bad; default: below for what is free, else above. Not for states.',
  threshold: 'In the unit that ends the name of the metric. Needed but for states, which have none.',
  forSeconds: `How long it must be so before an alert is raised, 0 to ${forSecondsMax} seconds.`,
  target: 'The one thing to watch: plain UUID or global id of a deployment, path of a volume, `data` or `models`, UUID of a graphics card. Null = all of them.',
  channels: 'Ids of the channels that tell of its alerts: `log`, `webhook`, or one of a plug-in. Null = every channel that there is; an empty list = none.',
} as const;

const numberMax = numberFrom(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);

const CreateAlertRuleInput = builder.inputType('CreateAlertRuleInput', {
  description: 'The new rule.',
  fields: (t) => ({
    name: t.string({ required: true, description: 'Its name.', validate: nameText(textMax.name) }),
    metric: t.field({ type: AlertMetric, required: true, description: 'What it watches.' }),
    comparison: t.field({ type: AlertComparison, description: texts.comparison }),
    threshold: t.float({ description: texts.threshold, validate: numberMax }),
    forSeconds: t.int({ required: true, defaultValue: 0, description: texts.forSeconds, validate: wholeNumber(0, forSecondsMax) }),
    target: t.string({ description: texts.target, validate: trimmedText(pathMax) }),
    severity: t.field({ type: AlertSeverity, required: true, defaultValue: 'warning', description: 'How bad its alerts are.' }),
    enabled: t.boolean({ required: true, defaultValue: true, description: 'Whether it raises any.' }),
    channels: t.stringList({ description: texts.channels, validate: textList(textMax.name) }),
  }),
});

const UpdateAlertRuleInput = builder.inputType('UpdateAlertRuleInput', {
  description: 'What to change of a rule; what is left out stays. The metric stays: to watch another one make another rule.',
  fields: (t) => ({
    ruleId: t.id({ required: true, description: 'The rule: plain UUID or global id.' }),
    name: t.string({ description: 'Its name.', validate: nameText(textMax.name) }),
    comparison: t.field({ type: AlertComparison, description: texts.comparison }),
    threshold: t.float({ description: texts.threshold, validate: numberMax }),
    forSeconds: t.int({ description: texts.forSeconds, validate: wholeNumber(0, forSecondsMax) }),
    target: t.string({ description: texts.target, validate: trimmedText(pathMax) }),
    severity: t.field({ type: AlertSeverity, description: 'How bad its alerts are.' }),
    enabled: t.boolean({ description: 'Whether it raises any. Its open alerts are resolved when it is switched off.' }),
    channels: t.stringList({ description: texts.channels, validate: textList(textMax.name) }),
  }),
});

const DeleteAlertRuleInput = builder.inputType('DeleteAlertRuleInput', { description: 'Which rule goes.', fields: (t) => ({ ruleId: t.id({ required: true, description: 'The rule: plain UUID or global id.' }) }) });
const AcknowledgeAlertInput = builder.inputType('AcknowledgeAlertInput', { description: 'Which alert was seen.', fields: (t) => ({ alertId: t.id({ required: true, description: 'The alert: plain UUID or global id.' }) }) });

function targetOf(text: string | null | undefined): string | null | undefined {
  const decoded = typeof text === 'string' ? decodeGlobalId(text) : null;
  return decoded?.typename === 'Deployment' ? decoded.id : text;
}

function toCreate({ target, comparison, threshold, channels, ...rest }: typeof CreateAlertRuleInput.$inferInput): CreateAlertRule {
  return { ...rest, target: targetOf(target) ?? null, comparison: comparison ?? null, threshold: threshold ?? null, channels: channels ?? null };
}

/** Null means all for these two; for the others it means nothing, like what is left out. */
function toChange({ ruleId: _ruleId, target, channels, ...rest }: typeof UpdateAlertRuleInput.$inferInput): ChangeAlertRule {
  const given: ChangeAlertRule = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null && value !== undefined));
  return { ...given, ...(target === undefined ? {} : { target: targetOf(target) ?? null }), ...(channels === undefined ? {} : { channels }) };
}

builder.mutationField('createAlertRule', (t) =>
  t.field({
    type: payloadOf('CreateAlertRule', 'rule', AlertRule),
    authScopes: { role: 'ADMIN' },
    description: 'Watches something from now on.',
    args: { input: t.arg({ type: CreateAlertRuleInput, required: true, description: 'The new rule.' }) },
    errors: resultOf('CreateAlertRule', [NotFoundError, InvalidStateError]),
    resolve: (_root, { input }, context) => outcomeOf(async () => ({ rule: await context.services.alerts.createRule(toCreate(input), principalOf(context)) })),
  }),
);

builder.mutationField('updateAlertRule', (t) =>
  t.field({
    type: payloadOf('UpdateAlertRule', 'rule', AlertRule),
    authScopes: { role: 'ADMIN' },
    description: 'Changes a rule. Open alerts that it does not watch any more are resolved.',
    args: { input: t.arg({ type: UpdateAlertRuleInput, required: true, description: 'What to change.' }) },
    errors: resultOf('UpdateAlertRule', [NotFoundError]),
    resolve: (_root, { input }, context) => outcomeOf(async () => ({ rule: await context.services.alerts.updateRule(toUuid('AlertRule', input.ruleId), toChange(input), principalOf(context)) })),
  }),
);

builder.mutationField('deleteAlertRule', (t) =>
  t.field({
    type: payloadOf('DeleteAlertRule', 'rule', AlertRule),
    authScopes: { role: 'ADMIN' },
    description: 'Deletes a rule, also one that came with the service: it does not come back. Its open alerts are resolved.',
    args: { input: t.arg({ type: DeleteAlertRuleInput, required: true, description: 'Which one.' }) },
    errors: resultOf('DeleteAlertRule', [NotFoundError]),
    resolve: (_root, { input }, context) => outcomeOf(async () => ({ rule: await context.services.alerts.deleteRule(toUuid('AlertRule', input.ruleId), principalOf(context)) })),
  }),
);

builder.mutationField('acknowledgeAlert', (t) =>
  t.field({
    type: payloadOf('AcknowledgeAlert', 'alert', Alert),
    authScopes: { role: 'OPERATOR' },
    description: 'Says that somebody has seen an alert. One that was acknowledged before stays as it is.',
    args: { input: t.arg({ type: AcknowledgeAlertInput, required: true, description: 'Which one.' }) },
    errors: resultOf('AcknowledgeAlert', [NotFoundError, InvalidStateError]),
    resolve: (_root, { input }, context) => outcomeOf(async () => ({ alert: await context.services.alerts.acknowledge(toUuid('Alert', input.alertId), principalOf(context)) })),
  }),
);
