import type { DeploymentHealth, HealthPolicy } from './types.ts';

/** Three checks in a row tell a hung engine from one long hiccup, within half a minute. */
export const defaultHealthPolicy: HealthPolicy = { intervalSeconds: 10, timeoutSeconds: 5, failures: 3, generationIntervalSeconds: null };

export const unknownHealth: DeploymentHealth = { status: 'unknown', checkedAt: null, consecutiveFailures: 0, message: null };

/** The health after a check that could not be made: neither a failure nor a success. */
export function unknownNow(before: DeploymentHealth, message: string, now: Date): DeploymentHealth {
  return { ...before, status: 'unknown', checkedAt: now, message };
}

/** The health after one more check; `fault` is null when it passed. Unhealthy from the policy's number of failures on. */
export function nextHealth(before: DeploymentHealth, fault: string | null, policy: HealthPolicy, now: Date): DeploymentHealth {
  if (fault === null) return { status: 'healthy', checkedAt: now, consecutiveFailures: 0, message: null };
  const consecutiveFailures = before.consecutiveFailures + 1;
  const status = consecutiveFailures >= policy.failures ? 'unhealthy' : before.status;
  return { status, checkedAt: now, consecutiveFailures, message: fault };
}
