import { z } from 'zod';
import { validationFailed, type FieldFault } from '../../../shared/errors.ts';
import { isStorable } from '../../../shared/storable.ts';
import { alertComparisons, alertMetrics, metricTraits, type AlertMetric } from './alert-metrics.ts';
import { alertSeverities, type AlertRuleView, type ChangeAlertRule, type CreateAlertRule } from './types.ts';

const nameMax = 100;
const targetMax = 4_096;
const forSecondsMax = 86_400;
export const channelsMax = 20;
// A line break in a name would forge lines in logs and messages.
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

const line = (max: number) =>
  z
    .string()
    .trim()
    .min(1, 'must not be empty')
    .max(max, `must not be longer than ${max} characters`)
    .refine((text) => !controls.test(text) && isStorable(text), 'must not contain control characters');

const fields = {
  name: line(nameMax),
  comparison: z.enum(alertComparisons).nullable(),
  threshold: z.number().nullable(),
  forSeconds: z.number().int('must be a whole number').min(0, `must be from 0 to ${forSecondsMax}`).max(forSecondsMax, `must be from 0 to ${forSecondsMax}`),
  target: line(targetMax).nullable(),
  severity: z.enum(alertSeverities),
  enabled: z.boolean(),
  channels: z.array(line(nameMax)).max(channelsMax, `must not hold more than ${channelsMax} items`).nullable(),
};

const createSchema = z.strictObject({
  ...fields,
  metric: z.enum(alertMetrics),
  comparison: fields.comparison.default(null),
  threshold: fields.threshold.default(null),
  forSeconds: fields.forSeconds.default(0),
  target: fields.target.default(null),
  enabled: fields.enabled.default(true),
  channels: fields.channels.default(null),
});
const changeSchema = z.strictObject(fields).partial();

export type ParsedRule = Omit<AlertRuleView, 'id' | 'createdAt' | 'updatedAt'>;

/** Throws VALIDATION_FAILED naming every refused field. `channelIds`: those that there are. */
export function parseCreateRule(input: CreateAlertRule, channelIds: readonly string[]): ParsedRule {
  return checked(parse(createSchema, input), channelIds);
}

/** The rule as it will be. */
export function parseChangeRule(before: ParsedRule, change: ChangeAlertRule, channelIds: readonly string[]): ParsedRule {
  const { name, metric, comparison, threshold, forSeconds, target, severity, enabled, channels } = before;
  const given = Object.fromEntries(Object.entries(parse(changeSchema, change)).filter(([, value]) => value !== undefined));
  // A plug-in that is not loaded now must not stand in the way of every other change.
  const known = change.channels === undefined ? [...channelIds, ...(channels ?? [])] : channelIds;
  return checked({ name, metric, comparison, threshold, forSeconds, target, severity, enabled, channels, ...given }, known);
}

function parse<T>(schema: z.ZodType<T>, input: unknown): T {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw validationFailed(parsed.error.issues.map((issue) => ({ field: fieldOf(issue), message: issue.message })));
}

function checked(rule: ParsedRule, channelIds: readonly string[]): ParsedRule {
  const unknown = (rule.channels ?? []).filter((id) => !channelIds.includes(id));
  const faults: FieldFault[] = [
    ...thresholdFaults(rule),
    ...(metricTraits[rule.metric].target === 'machine' && rule.target !== null ? [{ field: 'target', message: `${rule.metric} is of the whole machine; leave the target out` }] : []),
    ...(metricTraits[rule.metric].target === 'download' && rule.target !== null ? [{ field: 'target', message: 'downloads are watched all together; leave the target out' }] : []),
    ...(unknown.length > 0 ? [{ field: 'channels', message: `there is no channel ${unknown.join(', ')}; there are ${channelIds.join(', ')}` }] : []),
  ];
  if (faults.length > 0) throw validationFailed(faults);
  const { threshold: bounds } = metricTraits[rule.metric];
  return { ...rule, comparison: bounds ? (rule.comparison ?? bounds.comparison) : null, channels: rule.channels && [...new Set(rule.channels)] };
}

function thresholdFaults({ metric, threshold, comparison }: { metric: AlertMetric; threshold: number | null; comparison: string | null }): FieldFault[] {
  const { threshold: bounds } = metricTraits[metric];
  if (!bounds) {
    const given = [...(threshold === null ? [] : ['threshold']), ...(comparison === null ? [] : ['comparison'])];
    return given.map((field) => ({ field, message: `${metric} is a state, which has none` }));
  }
  if (threshold !== null && threshold >= bounds.min && threshold <= bounds.max) return [];
  return [{ field: 'threshold', message: `must be from ${bounds.min} to ${bounds.max} (${bounds.unit})` }];
}

function fieldOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') return issue.keys[0] ?? '';
  return issue.path.map((part) => (part === 'forSeconds' ? 'for_seconds' : String(part))).join('.');
}
