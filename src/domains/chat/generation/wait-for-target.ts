import type { Deployments, InferenceTarget } from '../../deployments/types.ts';
import { linkSignals } from './linked-signal.ts';
import { Watchdog } from './watchdog.ts';

type TargetDeps = { deployments: Pick<Deployments, 'target'>; startWaitMs: number };

/** As `Deployments.target`, for so long at most; throws TIMEOUT after that. */
export async function waitForTarget(deploymentId: string, { deployments, startWaitMs }: TargetDeps, signal: AbortSignal): Promise<InferenceTarget> {
  const watchdog = new Watchdog('The deployment was not ready in time.');
  const { signal: live, unlink } = linkSignals([signal, watchdog.signal]);
  watchdog.feed(startWaitMs);
  try {
    return await deployments.target(deploymentId, live);
  } finally {
    unlink();
    watchdog.end();
  }
}
