import type { Clock } from '../../shared/clock.ts';
import { AppError, isAppError, type ErrorCode, type StoredError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import type { GenerationProbe } from './generation-probe.ts';
import { watchHealth } from './health-watch.ts';
import type { OpenLog } from './logs/log-store.ts';
import { tellable } from './logs/log-line.ts';
import { healthyResetMs } from './restart-policy.ts';
import type { ModelRuntime, RunningModel, RuntimeExit, RuntimeHandle, RuntimeStart } from './runtime.ts';
import { TimeLimitExceeded } from './time-limit.ts';
import type { DeploymentHealth, HealthPolicy } from './types.ts';
import type { Usage } from './usage.ts';

/** How a run ended that nobody asked to end. */
export type RunOutcome = { error: StoredError; exit: RuntimeExit; clean: boolean; fatal: boolean };

export type EngineRunHooks = {
  onHandle: (handle: RuntimeHandle) => Promise<void>;
  onRunning: (model: RunningModel) => Promise<void>;
  /** Nobody has used it for as long as it is kept loaded. */
  onIdle: (why: string) => Promise<void>;
  /** Asked when it is to end: whether it shall rather go on without this service. */
  isKept: () => boolean;
  onReleased: () => void;
  onHealth: (health: DeploymentHealth) => void;
  onUnhealthy: (message: string) => Promise<void>;
  /** It has run long enough without a fault for earlier ones to be forgotten. */
  onHealthyLong: () => Promise<void>;
  /** From now on nobody gets an answer of this run any more. */
  onLost: (why: Error) => void;
};

export type EngineRunOptions = {
  runtime: ModelRuntime;
  /** A model that runs already, or what to start. */
  begin: { adopted: RunningModel } | { request: Omit<RuntimeStart, 'log' | 'logFile' | 'onHandle'> };
  health: HealthPolicy;
  generate: GenerationProbe | undefined;
  /** Null = never unloaded. */
  keepAliveMs: number | null;
  usage: Usage;
  startTimeoutMs: number;
  drainMs: number;
  open: OpenLog;
  clock: Clock;
  logger: Logger;
  hooks: EngineRunHooks;
  /** Ends the draining at once. */
  force: AbortSignal;
};

const idleRecheckMs = 1_000;
/** Trying again cannot mend these. */
const fatalCodes: readonly ErrorCode[] = ['MODEL_NOT_INSTALLED', 'UNSUPPORTED_MODEL', 'UNSAFE_FILE', 'VALIDATION_FAILED', 'FORBIDDEN', 'INTEGRITY_FAILED'];

/**
 * One run of an engine, from its start to its end. Resolves when it ended by itself or had to be ended, rejects with
 * the signal's reason when it was asked to end; either way nothing is left running.
 */
export async function runEngine(options: EngineRunOptions, signal: AbortSignal): Promise<RunOutcome> {
  let model: RunningModel;
  try {
    model = 'adopted' in options.begin ? options.begin.adopted : await startModel(options, options.begin.request, signal);
  } catch (error) {
    signal.throwIfAborted();
    return startOutcome(error, options);
  }
  try {
    await options.hooks.onRunning(model);
    return await serve(model, options, signal);
  } catch (error) {
    if (!signal.aborted || !(await letGo(model, options))) {
      // Asked to end, or its state could not be stored: in both cases it may not go on unseen.
      await model.stop(signal.aborted ? options.drainMs : 0, options.force);
    }
    options.hooks.onLost(signal.aborted ? (signal.reason as Error) : new AppError('CRASHED', 'The model was ended because of an error in the service.'));
    throw error;
  }
}

/** True when it goes on without this service. */
async function letGo(model: RunningModel, { hooks, logger }: EngineRunOptions): Promise<boolean> {
  if (!hooks.isKept() || !model.keepsake || !model.release) return false;
  try {
    await model.release();
    hooks.onReleased();
    return true;
  } catch (error) {
    logger.warn({ err: error }, 'an engine could not be left running and is ended');
    return false;
  }
}

/** For a runtime's own words about its engine. */
export function runtimeLog({ log }: OpenLog): RuntimeStart['log'] {
  return (stream, level, message) => {
    for (const line of message.split('\n', 100)) if (line.trim() !== '' && log.admit()) log.write(stream, level, line.slice(0, 8192));
  };
}

async function startModel(options: EngineRunOptions, request: Omit<RuntimeStart, 'log' | 'logFile' | 'onHandle'>, signal: AbortSignal): Promise<RunningModel> {
  const { runtime, open, hooks } = options;
  const log = runtimeLog(open);
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => controller.abort(new TimeLimitExceeded(options.startTimeoutMs)), options.startTimeoutMs);
  try {
    signal.throwIfAborted();
    // Not raced against the signal: `start` rejects by itself, once nothing is left of what it began.
    return await runtime.start({ ...request, log, logFile: open.outputFile, onHandle: hooks.onHandle }, controller.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

async function serve(model: RunningModel, options: EngineRunOptions, signal: AbortSignal): Promise<RunOutcome> {
  const { hooks } = options;
  const inner = new AbortController();
  const asked = Promise.withResolvers<never>();
  const onAbort = (): void => asked.reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  const exited = model.exited.then((exit): RunOutcome => exitOutcome(exit));
  const hung = untilHung(model, options, inner.signal);
  const settled = Promise.all([forgetFailures(options, inner.signal), endWhenIdle(options, inner.signal)]);
  // Losers of the race below end by `inner`; what they then say is of no interest.
  hung.catch(() => undefined);
  try {
    const outcome = await Promise.race([exited, hung, asked.promise]);
    if (outcome.error.code === 'UNHEALTHY') await hooks.onUnhealthy(outcome.error.message);
    hooks.onLost(new AppError(outcome.error.code, outcome.error.message));
    await model.stop(0, options.force);
    return outcome;
  } finally {
    inner.abort();
    signal.removeEventListener('abort', onAbort);
    await settled;
  }
}

/** Resolves when it answers its checks no more. */
async function untilHung(model: RunningModel, { health: policy, clock, usage, generate, hooks, open }: EngineRunOptions, signal: AbortSignal): Promise<RunOutcome> {
  const onFault = (message: string): void => open.log.say('warn', message);
  return hungOutcome(await watchHealth(model, { policy, clock, usage, generate, onHealth: hooks.onHealth, onFault }, signal));
}

async function forgetFailures(options: EngineRunOptions, signal: AbortSignal): Promise<void> {
  try {
    await options.clock.sleep(healthyResetMs, signal);
    await options.hooks.onHealthyLong();
  } catch (error) {
    if (!signal.aborted) options.logger.warn({ err: error }, 'earlier failures of a deployment could not be forgotten');
  }
}

async function endWhenIdle({ keepAliveMs, usage, hooks, clock, logger }: EngineRunOptions, signal: AbortSignal): Promise<void> {
  if (keepAliveMs === null) return;
  try {
    while (!signal.aborted) {
      await usage.idleFor(keepAliveMs, signal);
      await hooks.onIdle(`nobody used it for ${keepAliveMs / 1000} s`);
      // It is ended now, or somebody used it in the last moment.
      await clock.sleep(idleRecheckMs, signal);
    }
  } catch (error) {
    if (!signal.aborted) logger.warn({ err: error }, 'an engine that nobody uses could not be ended');
  }
}

function hungOutcome(health: DeploymentHealth): RunOutcome {
  const message = `It failed ${health.consecutiveFailures} health checks in a row: ${health.message ?? 'no reason given'}.`;
  return { error: { code: 'UNHEALTHY', message }, exit: { code: null, signal: null, reason: message }, clean: false, fatal: false };
}

function exitOutcome(exit: RuntimeExit): RunOutcome {
  const how = exit.signal !== null ? `signal ${exit.signal}` : `exit code ${exit.code ?? 'unknown'}`;
  const message = exit.reason ?? `The engine ended unexpectedly (${how}).`;
  return { error: { code: 'CRASHED', message }, exit: { ...exit, reason: message }, clean: exit.code === 0, fatal: false };
}

function startOutcome(error: unknown, options: EngineRunOptions): RunOutcome {
  if (error instanceof TimeLimitExceeded) return failedStart('START_FAILED', `It was not ready within ${Math.round(options.startTimeoutMs / 1000)} s.`);
  if (isAppError(error)) return failedStart(error.code, error.message);
  options.logger.error({ err: error }, 'a runtime failed in an unexpected way');
  return failedStart('START_FAILED', 'The engine could not be started because of an internal error.');
}

/** The same in words that can be stored and shown: servers of others have a say in them. */
export function harmless({ error, exit, ...rest }: RunOutcome): RunOutcome {
  const reason = exit.reason === null ? null : tellable(exit.reason);
  return { ...rest, error: { ...error, message: tellable(error.message) }, exit: { ...exit, reason } };
}

export function failedStart(code: ErrorCode, message: string): RunOutcome {
  return { error: { code, message }, exit: { code: null, signal: null, reason: message }, clean: false, fatal: fatalCodes.includes(code) };
}
