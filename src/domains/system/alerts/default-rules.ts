import type { AlertRuleView } from './types.ts';

type DefaultRule = { seed: string } & Pick<AlertRuleView, 'name' | 'metric' | 'comparison' | 'threshold' | 'forSeconds' | 'target' | 'severity'>;

const gibibyte = 1024 ** 3;

/** Made at the first start that knows them, and ordinary rules from then on. A seed names its rule for ever. */
export const defaultRules: readonly DefaultRule[] = [
  { seed: 'models-disk', name: 'Models volume nearly full', metric: 'disk_free_percent', comparison: 'below', threshold: 5, forSeconds: 60, target: 'models', severity: 'warning' },
  // Below this neither the database nor logs can be relied upon.
  { seed: 'data-disk', name: 'Data volume nearly full', metric: 'disk_free_bytes', comparison: 'below', threshold: gibibyte, forSeconds: 30, target: 'data', severity: 'critical' },
  { seed: 'memory', name: 'Memory nearly full', metric: 'memory_used_percent', comparison: 'above', threshold: 95, forSeconds: 120, target: null, severity: 'warning' },
  { seed: 'gpu-temperature', name: 'Graphics card too hot', metric: 'gpu_temperature_celsius', comparison: 'above', threshold: 90, forSeconds: 60, target: null, severity: 'warning' },
  { seed: 'deployment-failed', name: 'Deployment failed', metric: 'deployment_failed', comparison: null, threshold: null, forSeconds: 0, target: null, severity: 'critical' },
  { seed: 'deployment-unhealthy', name: 'Deployment unhealthy', metric: 'deployment_unhealthy', comparison: null, threshold: null, forSeconds: 30, target: null, severity: 'warning' },
  { seed: 'deployment-restarting', name: 'Deployment keeps crashing', metric: 'deployment_restarting', comparison: null, threshold: null, forSeconds: 15, target: null, severity: 'warning' },
  { seed: 'download-failed', name: 'Download failed', metric: 'download_failed', comparison: null, threshold: null, forSeconds: 0, target: null, severity: 'warning' },
  { seed: 'download-stalled', name: 'Download stalled', metric: 'download_stalled_seconds', comparison: 'above', threshold: 600, forSeconds: 0, target: null, severity: 'info' },
];
