import type { AlertMetric } from './alert-metrics.ts';
import type { Reading } from './readings.ts';
import type { AlertRuleView, AlertTarget } from './types.ts';

/** One sentence for a person: what was found, and what the rule says of it. */
export function describeAlert(rule: Pick<AlertRuleView, 'metric' | 'comparison' | 'threshold' | 'forSeconds'>, { target, value }: Reading): string {
  const { metric, comparison, threshold, forSeconds } = rule;
  const lasting = forSeconds > 0 ? ` for ${durationText(forSeconds)}` : '';
  if (threshold === null || comparison === null || value === null) return `${subjectOf(target)} ${stateTexts[metric] ?? 'needs attention'}${lasting}.`;
  return `${subjectOf(target)}: ${figureNames[metric] ?? metric} ${amountText(metric, value)}, ${comparison} ${amountText(metric, threshold)}${lasting}.`;
}

const stateTexts: Partial<Record<AlertMetric, string>> = {
  deployment_failed: 'has failed',
  deployment_unhealthy: 'is unhealthy',
  deployment_restarting: 'has lost its engine and has been restarting',
  download_failed: 'has failed',
};

const figureNames: Partial<Record<AlertMetric, string>> = {
  disk_free_bytes: 'free',
  disk_free_percent: 'free',
  memory_used_percent: 'memory in use',
  cpu_used_percent: 'processor in use',
  gpu_memory_used_percent: 'memory in use',
  gpu_temperature_celsius: 'temperature',
  deployment_memory_bytes: 'memory in use',
  download_stalled_seconds: 'got nothing for',
};

function subjectOf({ kind, name }: AlertTarget): string {
  switch (kind) {
    case 'machine':
      return `Machine ${name}`;
    case 'volume':
      return `The ${name}`;
    case 'gpu':
      return name;
    case 'deployment':
      return `Deployment ${name}`;
    case 'download':
      return `The download of ${name}`;
  }
}

function amountText(metric: AlertMetric, value: number): string {
  if (metric.endsWith('_percent')) return `${Math.round(value * 10) / 10} %`;
  if (metric.endsWith('_celsius')) return `${Math.round(value)} °C`;
  if (metric.endsWith('_seconds')) return durationText(value);
  return bytesText(value);
}

function bytesText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const exponent = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  return `${Math.round((bytes / 1024 ** exponent) * 10) / 10} ${units[exponent] ?? ''}`;
}

function durationText(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 120) return `${whole} s`;
  return whole < 7_200 ? `${Math.round(whole / 60)} min` : `${Math.round(whole / 3_600)} h`;
}
