import type { Deployments, ReadyTarget } from '../../deployments/types.ts';
import { linkSignals } from './linked-signal.ts';
import { Watchdog } from './watchdog.ts';

type TargetDeps = { deployments: Pick<Deployments, 'ensureReady'>; startWaitMs: number };

/** As `Deployments.ensureReady`, for so long at most; throws TIMEOUT after that. Whoever gets it releases it. */
export async function waitForTarget(deploymentId: string, { deployments, startWaitMs }: TargetDeps, signal: AbortSignal): Promise<ReadyTarget> {
  const watchdog = new Watchdog('The deployment was not ready in time.');
  const { signal: live, unlink } = linkSignals([signal, watchdog.signal]);
  watchdog.feed(startWaitMs);
  try {
    return await deployments.ensureReady(deploymentId, live);
  } finally {
    unlink();
    watchdog.end();
  }
}
