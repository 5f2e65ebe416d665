import { createHash } from 'node:crypto';
import type { DiskSample, ResourcesSample } from '../../../shared/resources-sample.ts';
import type { AlertMetric } from './alert-metrics.ts';
import type { AlertRuleView, AlertTarget } from './types.ts';

/** What one metric is of one target now; null where it cannot be told. A state is 1 or 0. */
export type Reading = {
  metric: AlertMetric;
  target: AlertTarget;
  value: number | null;
  /** What the rules may name it by beside its id. */
  purpose?: string;
};

/** A deployment or download as its room tells of it. */
export type WatchedDeployment = { id: string; name: string; status: string };
export type WatchedDownload = { id: string; modelId: string; status: string; downloadedBytes: number };

/** A download in a worker's hands, or waiting for the network by itself. */
export const movingStatuses = ['running', 'retrying'] as const;

export function readingsOfSample(sample: ResourcesSample, host: string): Reading[] {
  const machine: AlertTarget = { kind: 'machine', id: host, name: host, host };
  const { memory, cpu, disks, gpus, deployments } = sample;
  return [
    { metric: 'memory_used_percent', target: machine, value: percentOf(memory.usedBytes, memory.totalBytes) },
    { metric: 'cpu_used_percent', target: machine, value: cpu.percent },
    ...disks.flatMap((disk): Reading[] => {
      const target = volumeTarget(disk, host);
      return [
        { metric: 'disk_free_bytes', target, value: disk.availableBytes, purpose: disk.purpose },
        { metric: 'disk_free_percent', target, value: percentOf(disk.availableBytes, disk.totalBytes), purpose: disk.purpose },
      ];
    }),
    ...gpus.flatMap(({ uuid, index, name, memoryUsedBytes, memoryTotalBytes, temperatureCelsius }): Reading[] => {
      const target: AlertTarget = { kind: 'gpu', id: uuid, name: `${name} (GPU ${index})`, host };
      return [
        { metric: 'gpu_memory_used_percent', target, value: memoryUsedBytes === null || memoryTotalBytes === null ? null : percentOf(memoryUsedBytes, memoryTotalBytes) },
        { metric: 'gpu_temperature_celsius', target, value: temperatureCelsius },
      ];
    }),
    ...deployments.map(({ deploymentId, name, memoryBytes }): Reading => ({ metric: 'deployment_memory_bytes', target: { kind: 'deployment', id: deploymentId, name, host }, value: memoryBytes })),
  ];
}

/** One on its way into a state or out of it says nothing of it. */
export function readingsOfDeployment({ id, name, status }: WatchedDeployment): Reading[] {
  const target: AlertTarget = { kind: 'deployment', id, name, host: null };
  const isSettled = status === 'running' || status === 'stopped' || status === 'failed';
  const of = (metric: AlertMetric, state: string, known: boolean): Reading => ({ metric, target, value: status === state ? 1 : known ? 0 : null });
  return [
    of('deployment_failed', 'failed', status === 'running' || status === 'stopped'),
    of('deployment_unhealthy', 'unhealthy', isSettled),
    of('deployment_restarting', 'restarting', isSettled),
  ];
}

/** `stillForMs`: how long it has got nothing. */
export function readingsOfDownload({ id, modelId, status }: WatchedDownload, stillForMs: number): Reading[] {
  const target: AlertTarget = { kind: 'download', id, name: modelId, host: null };
  const isMoving = movingStatuses.some((moving) => moving === status);
  return [
    { metric: 'download_failed', target, value: status === 'failed' ? 1 : 0 },
    { metric: 'download_stalled_seconds', target, value: isMoving ? stillForMs / 1000 : 0 },
  ];
}

/** Whether a rule watches this. A volume is named by its path or by what it is for. */
export function isWatched(rule: Pick<AlertRuleView, 'metric' | 'target'>, { metric, target, purpose }: Reading): boolean {
  return rule.metric === metric && (rule.target === null || rule.target === target.id || rule.target === purpose);
}

/** Of one target among all, whatever the length of its name. */
export function keyOfTarget({ kind, host, id }: Pick<AlertTarget, 'kind' | 'host' | 'id'>): string {
  return createHash('sha256').update(JSON.stringify([kind, host, id])).digest('hex').slice(0, 32);
}

function volumeTarget({ path, purpose }: DiskSample, host: string): AlertTarget {
  return { kind: 'volume', id: path, name: `${purpose} volume ${path}`, host };
}

function percentOf(part: number, whole: number): number | null {
  return whole > 0 ? (part / whole) * 100 : null;
}
