import type { DeploymentRow } from './deployment.repository.ts';
import { unknownHealth } from './health.ts';
import type { Supervisor } from './supervisor.ts';
import type { DeploymentHealth, DeploymentUseView, DeploymentView, LastExit } from './types.ts';

const noUse: DeploymentUseView = { cpuPercent: null, memoryBytes: null, gpuMemoryBytes: null };

/** The row with the live figures of the process that runs it laid over. */
export async function toView(row: DeploymentRow, supervisor: Supervisor | undefined): Promise<DeploymentView> {
  const { id, name, runtime, status, desiredStatus, config, restarts, runs, createdAt } = row;
  return {
    id,
    name,
    modelId: row.modelId ?? null,
    variant: row.variant ?? null,
    installedModelId: row.installedModelId ?? null,
    runtime,
    status,
    desiredStatus,
    config,
    endpoint: row.endpoint ?? null,
    health: healthOf(row, supervisor),
    resources: supervisor ? await supervisor.live.use() : noUse,
    restarts,
    runs,
    lastExit: toLastExit(row),
    error: row.error ?? null,
    createdAt,
    startedAt: row.startedAt ?? null,
  };
}

function healthOf({ status }: DeploymentRow, supervisor: Supervisor | undefined): DeploymentHealth {
  const health = supervisor?.live.health ?? unknownHealth;
  if (status === 'running' || status === 'unhealthy') return health;
  // Why it is not known: what runs it is away.
  return status === 'restarting' && health.status === 'unknown' ? health : unknownHealth;
}

function toLastExit({ lastExit }: DeploymentRow): LastExit | null {
  return lastExit ? { ...lastExit, at: new Date(lastExit.at) } : null;
}
