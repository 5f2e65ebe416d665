import type { SqlEntityManager } from '@mikro-orm/sql';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Instances } from '../../shared/instances.ts';
import type { Logger } from '../../shared/logger.ts';
import type { DeploymentUse } from '../../shared/resources-sample.ts';
import type { StreamingHttp } from '../../shared/streaming-http.ts';
import type { InstalledModels } from '../downloads/types.ts';
import { DeploymentRepository, type DeploymentRow } from './deployment.repository.ts';
import { CommandListener } from './command-listener.ts';
import { DeploymentsService } from './deployments.service.ts';
import { Elsewhere, type EngineAccess } from './elsewhere.ts';
import { createGenerationProbe } from './generation-probe.ts';
import { FitChecker, type MachineMemory } from './fit.ts';
import type { GraphicsCard } from './graphics-cards.ts';
import { modelFilesOf } from './installed-choice.ts';
import { ownNameOf } from './own-models.ts';
import { LogStore } from './logs/log-store.ts';
import type { LogLimits } from './logs/run-log.ts';
import type { ModelRuntime, RuntimeStart } from './runtime.ts';
import { Ownership } from './ownership.ts';
import { StartPlanner } from './start-planner.ts';
import { endStrays } from './strays.ts';
import { Supervisors } from './supervisors.ts';
import type { Deployments } from './types.ts';

export type DeploymentsDeps = {
  em: SqlEntityManager;
  /** In order of preference: the first that needs a model is the default. */
  runtimes: ReadonlyMap<string, ModelRuntime>;
  installed: InstalledModels;
  events: EventBus;
  clock: Clock;
  logger: Logger;
  /** This service process and the others on the same database. */
  instances: Instances;
  /** A folder of our own; one folder a deployment is made in it. */
  logDir: string;
  machineMemory: MachineMemory;
  /** The machine's graphics cards; default none. */
  gpus?: () => Promise<readonly GraphicsCard[]>;
  /** For probes of generation; without it there are none. */
  http?: StreamingHttp;
  config?: DeploymentsConfig;
};

export type DeploymentsConfig = {
  /** How long weights may load; default 10 minutes. */
  startTimeoutMs?: number;
  /** What running answers get when a deployment is stopped; default 30 s. */
  drainMs?: number;
  logs?: Partial<LogLimits>;
  /** What becomes of running engines when the service ends; default `stop`. */
  onStop?: 'stop' | 'keep';
};

export type DeploymentsRoom = {
  deployments: Deployments;
  /** What running deployments use now; for the system's figures. */
  uses: () => Promise<DeploymentUse[]>;
  /** Takes over or ends what an earlier service left running, and brings back what should run. */
  start: (signal: AbortSignal) => Promise<void>;
  /** Ends all engines or, as configured, lets them go on; running answers at the latest when the signal aborts. What should run comes back with the next start. */
  stop: (signal: AbortSignal) => Promise<void>;
};

const defaultStartTimeoutMs = 600_000;
const defaultDrainMs = 30_000;

export function createDeployments(deps: DeploymentsDeps): DeploymentsRoom {
  const { runtimes, installed, events, clock, logger, instances, config = {} } = deps;
  const repository = new DeploymentRepository(deps.em);
  const logs = new LogStore({ folder: deps.logDir, events, clock, logger, ...(config.logs ? { limits: config.logs } : {}) });
  const fit = new FitChecker(deps.machineMemory);
  const planner = new StartPlanner({ runtimes, installed, repository, fit, gpus: deps.gpus ?? (() => Promise.resolve([])), evictableBytes: (exceptFor) => supervisors.evictableBytes(exceptFor) });
  const prepare = async (row: DeploymentRow, signal: AbortSignal): Promise<Pick<RuntimeStart, 'modelPath' | 'ownModel' | 'apiKey'>> => {
    signal.throwIfAborted();
    const runtime = runtimes.get(row.runtime);
    if (runtime?.capabilities.needsModel !== true) return { modelPath: null, apiKey: await repository.apiKeyOf(row.id) };
    const model = await planner.modelOf(row);
    // The server that has it by itself makes room for it as it sees fit.
    if (model === null) return { modelPath: null, ownModel: ownNameOf(row.modelId ?? '', runtime) ?? '', apiKey: null };
    const files = modelFilesOf(model);
    const makeRoom = (missingBytes: number): Promise<boolean> => supervisors.makeRoom(missingBytes, row.id, signal);
    await fit.claim(row.id, files, { config: row.config, override: row.override.includes('fit'), makeRoom });
    return { modelPath: files.path, apiKey: null };
  };
  const supervisors = new Supervisors({
    instanceId: instances.self.id,
    repository,
    logs,
    events,
    clock,
    logger,
    runtimeOf: (id) => runtimes.get(id),
    prepare,
    onSettled: (id) => fit.settle(id),
    startTimeoutMs: config.startTimeoutMs ?? defaultStartTimeoutMs,
    drainMs: config.drainMs ?? defaultDrainMs,
    generate: deps.http && createGenerationProbe(deps.http),
  });
  const onUse = (installedModelId: string): void => {
    installed.touch(installedModelId).catch((error: unknown) => logger.warn({ installedModelId, err: error }, 'the use of a model could not be noted'));
  };
  const modelFolderOf = async (row: DeploymentRow): Promise<string | null> => (await planner.modelOf(row))?.folder ?? null;
  const ownership = new Ownership({ repository, instances, supervisors, modelFolderOf, events, clock, logger });
  const reach = async (row: DeploymentRow, { baseUrl, model, contextSize }: EngineAccess): Promise<StreamingHttp | undefined> => {
    const runtime = runtimes.get(row.runtime);
    return runtime?.reach?.({ baseUrl, model, contextSize, config: row.config, keepsake: await repository.keepsakeOf(row.id) });
  };
  const elsewhere = new Elsewhere({ repository, instances, events, clock, reach });
  const commands = new CommandListener({ repository, instances, supervisors, events, clock, logger });
  const deployments = new DeploymentsService({ repository, runtimes, planner, supervisors, ownership, elsewhere, self: instances.self, logs, events, clock, onUse });
  return {
    deployments,
    uses: () => supervisors.uses(),
    ...lifeOf({ instances, ownership, elsewhere, commands, sweep: (signal) => endStrays({ runtimes, repository, clock, logger }, signal) }, (signal) => supervisors.close(config.onStop === 'keep', signal)),
  };
}

type Parts = { instances: Instances; ownership: Ownership; elsewhere: Elsewhere; commands: CommandListener; sweep: (signal: AbortSignal) => Promise<void> };

function lifeOf({ instances, ownership, elsewhere, commands, sweep }: Parts, closeAll: (signal: AbortSignal) => Promise<void>): Pick<DeploymentsRoom, 'start' | 'stop'> {
  const stopping = new AbortController();
  let sweeping: Promise<void> = Promise.resolve();
  return {
    start: async (signal) => {
      const endTelling = instances.onDeath((dead) => ownership.inherit(dead, stopping.signal));
      stopping.signal.addEventListener('abort', endTelling, { once: true });
      await ownership.start(signal);
      commands.start();
      sweeping = sweep(stopping.signal);
    },
    stop: async (signal) => {
      stopping.abort();
      await sweeping;
      await commands.stop();
      elsewhere.close();
      await closeAll(signal);
    },
  };
}
