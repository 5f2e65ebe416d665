import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SqlEntityManager } from '@mikro-orm/sql';
import { createDeployments, type DeploymentsConfig, type DeploymentsRoom } from '../../src/domains/deployments/create-deployments.ts';
import type { DeploymentStatus } from '../../src/domains/deployments/deployment.machine.ts';
import type { ModelRuntime } from '../../src/domains/deployments/runtime.ts';
import type { DeploymentView } from '../../src/domains/deployments/types.ts';
import type { InstalledModels, InstalledModelView } from '../../src/domains/downloads/types.ts';
import { createStreamingHttp } from '../../src/infrastructure/http/streaming-http.ts';
import type { EventBus } from '../../src/shared/event-bus.ts';
import type { Instances } from '../../src/shared/instances.ts';
import type { Principal } from '../../src/shared/principal.ts';
import { eventually } from './eventually.ts';
import { Society } from './instances.ts';
import { openTestLive } from './live.ts';
import { createManualClock, type ManualClock } from './manual-clock.ts';
import { createRecordingLogger } from './recording-logger.ts';

export const admin: Principal = { keyId: 'admin-key', owner: 'admin', role: 'ADMIN' };
export const operator: Principal = { keyId: 'operator-key', owner: 'operator', role: 'OPERATOR' };
export const never = new AbortController().signal;

export type DeploymentsBench = DeploymentsRoom & {
  readonly clock: ManualClock;
  readonly events: EventBus;
  readonly logger: ReturnType<typeof createRecordingLogger>;
  readonly logDir: string;
  /** The view once the deployment is in this state. */
  reaches(id: string, status: DeploymentStatus): Promise<DeploymentView>;
  close(): Promise<void>;
};

export type BenchOptions = {
  /** A process of a society of its own when left out. */
  instances?: Instances;
  em: SqlEntityManager;
  runtimes: readonly ModelRuntime[];
  installed?: readonly InstalledModelView[];
  logDir?: string;
  config?: DeploymentsConfig;
  /** Free memory; a function of what the running engines say they take. */
  availableBytes?: number | ((takenBytes: number) => number);
};

const gibibyte = 1024 ** 3;

/** The room of deployments on a real database and real processes, with a clock that the test moves. */
export async function createDeploymentsBench(options: BenchOptions): Promise<DeploymentsBench> {
  const logDir = options.logDir ?? (await mkdtemp(join(tmpdir(), 'llmm-deployments-')));
  const clock = createManualClock();
  const live = await openTestLive({ clock });
  const { events } = live;
  const logger = createRecordingLogger();
  const inference = createStreamingHttp();
  const room = createDeployments({
    em: options.em,
    runtimes: new Map(options.runtimes.map((runtime) => [runtime.id, runtime])),
    installed: installedModels(options.installed ?? []),
    events,
    clock,
    logger,
    logDir,
    instances: options.instances ?? new Society().join(),
    machineMemory: async () => {
      const { availableBytes = 8 * gibibyte } = options;
      if (typeof availableBytes === 'number') return { availableBytes, gpuFreeBytes: null };
      const taken = (await room.uses()).reduce((sum, { memoryBytes }) => sum + (memoryBytes ?? 0), 0);
      return { availableBytes: availableBytes(taken), gpuFreeBytes: null };
    },
    http: inference.request,
    ...(options.config ? { config: options.config } : {}),
  });
  return {
    ...room,
    clock,
    events,
    logger,
    logDir,
    reaches: (id, status) =>
      eventually(`deployment ${id} is ${status}`, async () => {
        const view = await room.deployments.find(id);
        return view?.status === status ? view : null;
      }),
    close: async () => {
      await room.stop(AbortSignal.timeout(2_000));
      await live.close();
      await inference.close();
      if (options.logDir === undefined) await rm(logDir, { recursive: true, force: true });
    },
  };
}

/** What the store of downloaded models would tell. */
export function installedModels(models: readonly InstalledModelView[]): InstalledModels {
  const refuse = (): never => {
    throw new Error('not part of this test');
  };
  return {
    list: () => Promise.resolve({ items: [...models], nextCursor: null, total: models.length }),
    find: (id) => Promise.resolve(models.find((model) => model.id === id) ?? null),
    findByModel: (modelId) => Promise.resolve(models.filter((model) => model.modelId === modelId)),
    findByModels: (modelIds) => Promise.resolve(models.filter((model) => modelIds.includes(model.modelId))),
    touch: () => Promise.resolve(),
    delete: refuse,
    volumes: refuse,
    verify: refuse,
    repair: refuse,
    import: refuse,
    adopt: refuse,
  };
}
