import { sleep } from '../../../shared/async.ts';
import { isAppError } from '../../../shared/errors.ts';
import type { InferenceTarget } from '../../deployments/types.ts';
import { passed } from './answer-keeper.ts';
import { linkSignals } from './linked-signal.ts';

/** The socket of an engine that died is closed a moment before its supervisor has heard of it. */
const lostNoticeMs = 1_000;

/** Why an exchange with an engine really ended: a stop of ours or the engine's end explain a broken connection, not the other way round. */
export async function causeOf(error: unknown, target: Pick<InferenceTarget, 'lost'> | null, stop: AbortSignal): Promise<unknown> {
  if (stop.aborted) return stop.reason;
  if (!target) return error;
  if (!target.lost.aborted && isAppError(error, 'NETWORK_FAILED')) await waitForAbort([target.lost, stop], lostNoticeMs);
  return target.lost.aborted ? target.lost.reason : error;
}

/** Resolves when one of them aborts, at the latest after `ms`. */
async function waitForAbort(signals: readonly AbortSignal[], ms: number): Promise<void> {
  const { signal, unlink } = linkSignals(signals);
  await passed(sleep(ms, signal));
  unlink();
}
