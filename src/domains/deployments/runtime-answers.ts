import { AppError, isAppError } from '../../shared/errors.ts';
import type { ModelRuntime } from './runtime.ts';
import { TimeLimitExceeded, withTimeLimit } from './time-limit.ts';
import type { RuntimeInfo } from './types.ts';

/** Looking for a program may start it, and a daemon on a busy machine takes its time. Longer than what a runtime gives itself. */
const probeMsMax = 15_000;
/** What a server that runs already is asked for. */
const answerMsMax = 5_000;

/** What the runtime says of itself. One that hangs or fails is one that cannot be used, and holds up nobody. */
export async function probeRuntime(runtime: ModelRuntime, signal: AbortSignal): Promise<RuntimeInfo> {
  const { id, name, capabilities } = runtime;
  try {
    return await withTimeLimit(probeMsMax, signal, (limited) => runtime.probe(limited));
  } catch (error) {
    signal.throwIfAborted();
    const detail = isAppError(error) ? error.message : error instanceof TimeLimitExceeded ? 'It does not answer.' : 'It could not say whether it can be used.';
    return { id, name, available: false, version: null, detail, needsModel: capabilities.needsModel, formats: capabilities.formats, engines: [] };
  }
}

/** Throws RUNTIME_UNAVAILABLE. */
export async function assertAvailable(runtime: ModelRuntime, signal: AbortSignal): Promise<void> {
  const info = await probeRuntime(runtime, signal);
  if (!info.available) throw new AppError('RUNTIME_UNAVAILABLE', `${runtime.name} cannot be used here: ${info.detail ?? 'no reason is known'}`);
}

/** Asks the runtime's server; throws what it throws as an AppError does, and RUNTIME_UNAVAILABLE for everything else and where it does not answer in time. */
export async function askRuntime<T>(runtime: ModelRuntime, ask: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await withTimeLimit(answerMsMax, signal, ask);
  } catch (cause) {
    signal.throwIfAborted();
    throw isAppError(cause) ? cause : new AppError('RUNTIME_UNAVAILABLE', `${runtime.name} could not say whether it has the model.`, { cause });
  }
}
