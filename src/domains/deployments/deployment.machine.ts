import { defineMachine } from '../../shared/state-machine.ts';

export const deploymentStatuses = ['pending', 'starting', 'running', 'unhealthy', 'restarting', 'stopping', 'stopped', 'failed'] as const;
export type DeploymentStatus = (typeof deploymentStatuses)[number];

/** Observed state; what the operator wants stands beside it in `desiredStatus`. */
export const deploymentMachine = defineMachine<DeploymentStatus>('deployment', {
  pending: ['starting', 'stopping', 'stopped', 'failed'],
  starting: ['running', 'restarting', 'stopping', 'stopped', 'failed', 'pending'],
  running: ['unhealthy', 'restarting', 'stopping', 'stopped', 'failed', 'pending'],
  unhealthy: ['running', 'restarting', 'stopping', 'stopped', 'failed', 'pending'],
  restarting: ['starting', 'stopping', 'stopped', 'failed', 'pending'],
  stopping: ['stopped', 'failed', 'pending'],
  stopped: ['pending', 'starting'],
  failed: ['pending', 'starting', 'stopped'],
});

export const desiredStatuses = ['running', 'stopped'] as const;
export type DesiredStatus = (typeof desiredStatuses)[number];

/** Nothing of it runs or is about to. */
export const restingStatuses: readonly DeploymentStatus[] = ['stopped', 'failed'];

/** The engine may hold memory, a port or the model's files. */
export const occupyingStatuses: readonly DeploymentStatus[] = ['pending', 'starting', 'running', 'unhealthy', 'restarting', 'stopping'];
