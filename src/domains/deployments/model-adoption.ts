import type { Logger } from '../../shared/logger.ts';
import type { DeploymentRepository, DeploymentRow } from './deployment.repository.ts';
import { runtimeLog } from './engine-run.ts';
import type { OpenLog } from './logs/log-store.ts';
import type { ModelRuntime, RunningModel } from './runtime.ts';
import { withTimeLimit } from './time-limit.ts';

/** An engine that answers does so at once; one that does not is of no use. */
const adoptionLimitMs = 10_000;
/** An engine that does not end when asked and killed is left to the next start. */
const orphanLimitMs = 15_000;

export type AdoptionDeps = { row: DeploymentRow; runtime: ModelRuntime; open: OpenLog; repository: DeploymentRepository; logger: Logger };

/** What an earlier service left running for this row; null when there is nothing to take over, and then nothing is left of it. */
export async function adoptModel({ row, runtime, open, repository, logger }: AdoptionDeps, signal: AbortSignal): Promise<RunningModel | null> {
  const { handle, id: deploymentId, name, config } = row;
  const keepsake = await repository.keepsakeOf(row.id);
  if (handle && keepsake && runtime.adopt) {
    const request = { deploymentId, name, config, handle, keepsake, log: runtimeLog(open), logFile: open.outputFile, loggedUntil: open.loggedUntil };
    try {
      const model = await withTimeLimit(adoptionLimitMs, signal, async (limited) => await runtime.adopt?.(request, limited));
      if (model) return model;
    } catch (error) {
      signal.throwIfAborted();
      logger.warn({ deploymentId, err: error }, 'an engine of an earlier service could not be taken over');
    }
  }
  open.log.say('warn', 'The engine of the earlier service cannot be taken over; it is started anew.');
  await endLeftOver(row, runtime, { logger }, signal);
  return null;
}

/** Ends what an earlier service left running; what cannot be ended is logged. */
export async function endLeftOver({ id: deploymentId, handle }: DeploymentRow, runtime: ModelRuntime, { logger }: { logger: Logger }, signal: AbortSignal): Promise<void> {
  if (!handle) return;
  try {
    await withTimeLimit(orphanLimitMs, signal, (limited) => runtime.endOrphan(handle, limited));
  } catch (error) {
    signal.throwIfAborted();
    logger.error({ deploymentId, handle, err: error }, 'an engine of an earlier service could not be ended');
  }
}
