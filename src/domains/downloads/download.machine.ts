import { defineMachine } from '../../shared/state-machine.ts';

export const downloadStatuses = [
  'queued',
  'running',
  'paused',
  'retrying',
  'verifying',
  'scanning',
  'completed',
  'failed',
  'cancelled',
] as const;
export type DownloadStatus = (typeof downloadStatuses)[number];

/** `retrying` waits for the network, the source or disk space and goes on by itself. */
export const downloadMachine = defineMachine<DownloadStatus>('download', {
  queued: ['running', 'retrying', 'paused', 'cancelled', 'failed', 'completed'],
  running: ['queued', 'verifying', 'retrying', 'paused', 'cancelled', 'failed', 'completed'],
  retrying: ['queued', 'running', 'paused', 'cancelled', 'failed'],
  // Straight to `completed` from what an Ollama server has fetched into its own store: nobody else looks into that.
  verifying: ['queued', 'running', 'scanning', 'completed', 'retrying', 'paused', 'cancelled', 'failed'],
  scanning: ['queued', 'completed', 'retrying', 'paused', 'cancelled', 'failed'],
  paused: ['queued', 'cancelled'],
  completed: [],
  failed: ['queued'],
  cancelled: ['queued'],
});

export const unfinishedStatuses: readonly DownloadStatus[] = ['queued', 'running', 'paused', 'retrying', 'verifying', 'scanning'];
/** A worker owns the task. */
export const activeStatuses: readonly DownloadStatus[] = ['running', 'retrying', 'verifying', 'scanning'];

export function isUnfinished(status: DownloadStatus): boolean {
  return unfinishedStatuses.includes(status);
}
