import { AppError } from '../../shared/errors.ts';
import type { DeploymentRow } from './deployment.repository.ts';
import type { RunOutcome } from './engine-run.ts';
import type { LiveModel } from './live-engine.ts';
import type { InferenceTarget } from './types.ts';

/** What callers are told of an engine's last words; the log has them all. */
const failureMessageMax = 4_000;

/** Why a deployment is not started again, with the engine's own last lines. */
export function failureMessage(outcome: RunOutcome, inWindow: number, lastLines: readonly string[]): string {
  const times = inWindow > 1 ? `It failed ${inWindow} times within 10 minutes and is not started again. ` : '';
  const told = lastLines.length > 0 ? ` Its last lines: ${lastLines.join(' | ')}` : '';
  return `${times}${outcome.error.message}${told}`.slice(0, failureMessageMax);
}

/** Whoever asks for a target waits for a restart that is this near, and is told to come again otherwise. */
const targetWaitMs = 15_000;

/** Throws what whoever waits for an engine is told when it does not come, or not soon. */
export function assertComing(row: DeploymentRow | null, { isWanted, retryInMs }: { isWanted: boolean; retryInMs: number }): void {
  if (!row) throw new AppError('DEPLOYMENT_NOT_FOUND', 'There is no such deployment.');
  if (row.status === 'failed') throw new AppError('RUNTIME_UNAVAILABLE', `${row.name} failed: ${row.error?.message ?? 'no reason is known'}`);
  if (!isWanted && row.status === 'stopped' && row.error?.code === 'MODEL_DOES_NOT_FIT') throw new AppError(row.error.code, row.error.message);
  if (!isWanted) throw new AppError('INVALID_STATE', `${row.name} does not run.`, { details: { status: row.status, allowed: ['running'] } });
  if (retryInMs <= targetWaitMs) return;
  const retryAfterSeconds = Math.ceil(retryInMs / 1000);
  throw new AppError('RUNTIME_UNAVAILABLE', `${row.name} ended unexpectedly and is started again in ${retryAfterSeconds} s.`, { retryAfterSeconds });
}

export function tooManyWait(): AppError {
  return new AppError('OVERLOADED', 'As many requests wait for this model to be loaded as may.', { retryAfterSeconds: 5 });
}

export function toTarget({ model, lost, row }: LiveModel): InferenceTarget {
  const { baseUrl, headers, contextSize, http } = model;
  return { deploymentId: row.id, name: row.name, modelId: row.modelId ?? null, baseUrl, model: model.model, headers, contextSize, lost: lost.signal, ...(http ? { http } : {}) };
}

/** Columns of a row whose engine is gone. */
export const nothingRuns = { endpoint: null, handle: null, keepsake: null, access: null };
/** Columns of a row whose curve of restarts begins anew. */
export const freshCounts = { restarts: 0, recentFailures: [] as readonly string[] };
