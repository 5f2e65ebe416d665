import { AppError } from '../../shared/errors.ts';
import type { DeploymentRow } from './deployment.repository.ts';
import type { RunOutcome } from './engine-run.ts';
import type { RunningModel } from './runtime.ts';
import type { InferenceTarget } from './types.ts';

/** An engine that is up, and the signal that ends with it. */
export type LiveModel = { model: RunningModel; lost: AbortController; row: DeploymentRow };

/** What callers are told of an engine's last words; the log has them all. */
const failureMessageMax = 4_000;

/** Why a deployment is not started again, with the engine's own last lines. */
export function failureMessage(outcome: RunOutcome, inWindow: number, lastLines: readonly string[]): string {
  const times = inWindow > 1 ? `It failed ${inWindow} times within 10 minutes and is not started again. ` : '';
  const told = lastLines.length > 0 ? ` Its last lines: ${lastLines.join(' | ')}` : '';
  return `${times}${outcome.error.message}${told}`.slice(0, failureMessageMax);
}

export function notRunning(row: DeploymentRow): AppError {
  return new AppError('INVALID_STATE', `${row.name} does not run.`, { details: { status: row.status, allowed: ['running'] } });
}

export function toTarget({ model, lost, row }: LiveModel): InferenceTarget {
  const { baseUrl, headers, contextSize, http } = model;
  return { deploymentId: row.id, name: row.name, modelId: row.modelId ?? null, baseUrl, model: model.model, headers, contextSize, lost: lost.signal, ...(http ? { http } : {}) };
}

/** Columns of a row whose engine is gone. */
export const nothingRuns = { endpoint: null, handle: null };
/** Columns of a row whose curve of restarts begins anew. */
export const freshCounts = { restarts: 0, recentFailures: [] as readonly string[] };
