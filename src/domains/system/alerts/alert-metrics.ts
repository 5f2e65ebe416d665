/** What can be watched. The unit of a threshold is the last word of its metric; those without one are states. */
export const alertMetrics = [
  'disk_free_bytes',
  'disk_free_percent',
  'memory_used_percent',
  'cpu_used_percent',
  'gpu_memory_used_percent',
  'gpu_temperature_celsius',
  'deployment_memory_bytes',
  'deployment_failed',
  'deployment_unhealthy',
  'deployment_restarting',
  'download_failed',
  'download_stalled_seconds',
] as const;
export type AlertMetric = (typeof alertMetrics)[number];

export const alertComparisons = ['above', 'below'] as const;
export type AlertComparison = (typeof alertComparisons)[number];

export const alertTargetKinds = ['machine', 'volume', 'gpu', 'deployment', 'download'] as const;
export type AlertTargetKind = (typeof alertTargetKinds)[number];

type Bounds = {
  unit: 'bytes' | 'percent' | 'celsius' | 'seconds';
  min: number;
  max: number;
  /** What a rule that says nothing means. */
  comparison: AlertComparison;
};

export type MetricTraits = {
  target: AlertTargetKind;
  /** Null: a state, which is there or not. */
  threshold: Bounds | null;
  /** How far on the good side of the threshold it must be, so that what swings around it raises one alert. */
  margin: (threshold: number) => number;
  /** How long it must have been good before the alert is resolved, at the least. */
  settleSeconds: number;
};

/** Two samples out of five may be outliers. */
const sampleSettleSeconds = 10;
/** An engine that crashes again within a minute after its start has not recovered. */
const restartSettleSeconds = 60;

const bytes = (comparison: AlertComparison): Bounds => ({ unit: 'bytes', min: 1, max: Number.MAX_SAFE_INTEGER, comparison });
const percent = (comparison: AlertComparison): Bounds => ({ unit: 'percent', min: 0, max: 100, comparison });
const percentMargin = (threshold: number): number => Math.min(2, threshold / 2, (100 - threshold) / 2);
const byteMargin = (threshold: number): number => threshold / 20;
const none = (): number => 0;
const state = (target: AlertTargetKind, settleSeconds: number): MetricTraits => ({ target, threshold: null, margin: none, settleSeconds });

export const metricTraits: Readonly<Record<AlertMetric, MetricTraits>> = {
  disk_free_bytes: { target: 'volume', threshold: bytes('below'), margin: byteMargin, settleSeconds: sampleSettleSeconds },
  disk_free_percent: { target: 'volume', threshold: percent('below'), margin: percentMargin, settleSeconds: sampleSettleSeconds },
  memory_used_percent: { target: 'machine', threshold: percent('above'), margin: percentMargin, settleSeconds: sampleSettleSeconds },
  cpu_used_percent: { target: 'machine', threshold: percent('above'), margin: percentMargin, settleSeconds: sampleSettleSeconds },
  gpu_memory_used_percent: { target: 'gpu', threshold: percent('above'), margin: percentMargin, settleSeconds: sampleSettleSeconds },
  gpu_temperature_celsius: { target: 'gpu', threshold: { unit: 'celsius', min: 0, max: 150, comparison: 'above' }, margin: (threshold) => Math.min(3, threshold / 2), settleSeconds: sampleSettleSeconds },
  deployment_memory_bytes: { target: 'deployment', threshold: bytes('above'), margin: byteMargin, settleSeconds: sampleSettleSeconds },
  deployment_failed: state('deployment', 0),
  deployment_unhealthy: state('deployment', sampleSettleSeconds),
  deployment_restarting: state('deployment', restartSettleSeconds),
  download_failed: state('download', 0),
  download_stalled_seconds: { target: 'download', threshold: { unit: 'seconds', min: 30, max: 86_400, comparison: 'above' }, margin: none, settleSeconds: 0 },
};
