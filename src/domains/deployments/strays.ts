import type { Clock } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import type { DeploymentRepository } from './deployment.repository.ts';
import type { ModelRuntime } from './runtime.ts';

export type StraysDeps = { runtimes: ReadonlyMap<string, ModelRuntime>; repository: DeploymentRepository; clock: Clock; logger: Logger };

/** A daemon that is away at the start of the service may come a while later. */
const retryMs = 60_000;

/** Ends, once for each runtime, what no deployment names although an earlier process of this service started it. Resolves when it is done or the signal aborts. */
export async function endStrays({ runtimes, ...deps }: StraysDeps, signal: AbortSignal): Promise<void> {
  await Promise.all([...runtimes.values()].map((runtime) => endStraysOf(runtime, deps, signal)));
}

async function endStraysOf(runtime: ModelRuntime, { repository, clock, logger }: Omit<StraysDeps, 'runtimes'>, signal: AbortSignal): Promise<void> {
  while (runtime.endStrays && !signal.aborted) {
    try {
      const ended = await runtime.endStrays(await repository.handledIds(runtime.id), signal);
      if (ended > 0) logger.warn({ runtime: runtime.id, ended }, 'ended what an earlier process had left and no deployment names');
      return;
    } catch (error) {
      logger.debug({ runtime: runtime.id, err: error }, 'what an earlier process may have left cannot be looked for now');
      await clock.sleep(retryMs, signal).catch(() => undefined);
    }
  }
}
