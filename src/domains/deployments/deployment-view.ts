import type { DeploymentRow } from './deployment.repository.ts';
import { unknownHealth } from './health.ts';
import type { Supervisor } from './supervisor.ts';
import type { DeploymentUseView, DeploymentView, LastExit } from './types.ts';

const noUse: DeploymentUseView = { cpuPercent: null, memoryBytes: null, gpuMemoryBytes: null };

/** The row with the live figures of the process that runs it laid over. */
export async function toView(row: DeploymentRow, supervisor: Supervisor | undefined): Promise<DeploymentView> {
  const isUp = row.status === 'running' || row.status === 'unhealthy';
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
    health: isUp && supervisor ? supervisor.live.health : unknownHealth,
    resources: supervisor ? await supervisor.live.use() : noUse,
    restarts,
    runs,
    lastExit: toLastExit(row),
    error: row.error ?? null,
    createdAt,
    startedAt: row.startedAt ?? null,
  };
}

function toLastExit({ lastExit }: DeploymentRow): LastExit | null {
  return lastExit ? { ...lastExit, at: new Date(lastExit.at) } : null;
}
