import type { Clock } from '../../shared/clock.ts';
import type { GenerationProbe } from './generation-probe.ts';
import { nextHealth, unknownHealth, unknownNow } from './health.ts';
import { tellable } from './logs/log-line.ts';
import { HealthUnknownError, type RunningModel } from './runtime.ts';
import { TimeLimitExceeded, withTimeLimit } from './time-limit.ts';
import type { DeploymentHealth, HealthPolicy } from './types.ts';
import type { Usage } from './usage.ts';

export type HealthWatchOptions = {
  policy: HealthPolicy;
  clock: Clock;
  usage: Usage;
  generate: GenerationProbe | undefined;
  onHealth: (health: DeploymentHealth) => void;
  onFault: (message: string) => void;
};

/** After a failed check the next one follows sooner, so that a hang is known within three usual intervals. */
const recheckShare = 0.1;
/** Even one token takes a while where the prompt has to be read by a slow processor. */
const generationMinSeconds = 30;

/** Checks again and again; resolves with the health once that is `unhealthy`, rejects with the signal's reason. */
export async function watchHealth(model: RunningModel, options: HealthWatchOptions, signal: AbortSignal): Promise<DeploymentHealth> {
  const { policy, clock } = options;
  let health: DeploymentHealth = { ...unknownHealth, status: 'healthy', checkedAt: clock.now() };
  options.onHealth(health);
  let generatedAtMs = clock.monotonicMs();
  for (;;) {
    const hasFailed = health.consecutiveFailures > 0;
    await clock.sleep(policy.intervalSeconds * 1000 * (hasFailed ? recheckShare : 1), signal);
    let fault = await attempt(policy.timeoutSeconds, (limited) => model.check(limited), signal);
    if (fault === null && isGenerationDue(options, generatedAtMs, hasFailed)) {
      generatedAtMs = clock.monotonicMs();
      fault = await attempt(Math.max(policy.timeoutSeconds, generationMinSeconds), (limited) => options.generate?.(model, limited) ?? Promise.resolve(), signal);
    }
    if (fault !== null) options.onFault(`Health check failed: ${fault instanceof HealthUnknownError ? fault.message : fault}`);
    health = fault instanceof HealthUnknownError ? unknownNow(health, fault.message, clock.now()) : nextHealth(health, fault, policy, clock.now());
    options.onHealth(health);
    if (health.status === 'unhealthy') return health;
  }
}

/** Real traffic that succeeds tells as much, and while there is some the probe would have to wait in its line. */
function isGenerationDue({ policy: { generationIntervalSeconds }, clock, usage, generate }: HealthWatchOptions, generatedAtMs: number, hasFailed: boolean): boolean {
  if (generationIntervalSeconds === null || !generate || usage.isBusy) return false;
  const intervalMs = generationIntervalSeconds * 1000;
  return !usage.succeededWithin(intervalMs) && (hasFailed || clock.monotonicMs() - generatedAtMs >= intervalMs);
}

async function attempt(limitSeconds: number, check: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<string | HealthUnknownError | null> {
  try {
    await withTimeLimit(limitSeconds * 1000, signal, check);
    return null;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof HealthUnknownError) return error;
    if (error instanceof TimeLimitExceeded) return `no answer within ${limitSeconds} s`;
    return tellable(error instanceof Error ? error.message : String(error));
  }
}
