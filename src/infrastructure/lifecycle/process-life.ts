import { isAbort, StopReason } from '../../shared/abort.ts';
import { isAppError, type ErrorCode } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import { ConfigError } from '../config/config.ts';
import { DataFolderInUseError } from '../data-folder/data-folder.ts';
import { toTerminalText } from '../logging/safe-text.ts';
import { AddressUnusableError } from './own-address.ts';
import { interruptedExitCode, type StopSignals } from './signals.ts';

/** Something that runs until it is stopped. */
export type LongRunning<Started> = {
  start(signal: AbortSignal): Promise<Started>;
  /** Answers whether everything ended without a fault. */
  stop(): Promise<boolean>;
  /** A stop, running or to come, waits for nobody any more. */
  hurry(): void;
  /** The name of the plug-in whose own an uncaught fault is; null when it is the service's. */
  blame(error: unknown): string | null;
};

export type ProcessLifeOptions<Started> = { logger: Logger; signals: StopSignals; onStarted: (started: Started) => void };

const exitCodes = { done: 0, failed: 1 } as const;
/** A second signal ends the process at once; children and the database get this long to be ended by it. */
const hurryMs = 2_000;

/**
 * Whoever read our output may be gone (a closed terminal, `| head`): that ends what is printed, not what runs. Without
 * a listener the failed write would end the process, and leave its database behind.
 */
export function keepOutputHarmless(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
}

/** Starts, waits for a signal, stops; answers the process's exit code. */
export async function runUntilStopped<Started>(service: LongRunning<Started>, options: ProcessLifeOptions<Started>): Promise<number> {
  const { logger, onStarted } = options;
  const stopping = new AbortController();
  const forced: number[] = [];
  const { promise: stopped, resolve } = Promise.withResolvers<undefined>();
  const stop = (): void => {
    stopping.abort(new StopReason('shutdown'));
    resolve(undefined);
  };
  const force = (exitCode: number): void => {
    forced.push(exitCode);
    service.hurry();
    stop();
    setTimeout(() => process.exit(exitCode), hurryMs);
  };
  listen(options, { stop, force, blame: (error) => service.blame(error) });
  try {
    onStarted(await service.start(stopping.signal));
    await stopped;
    const isClean = await service.stop();
    return forced[0] ?? (isClean ? exitCodes.done : exitCodes.failed);
  } catch (error) {
    await service.stop();
    if (stopping.signal.aborted && isAbort(error)) return forced[0] ?? exitCodes.done;
    logger.debug({ err: error }, 'start failed');
    sayWhyNot(error);
    return error instanceof ConfigError ? error.exitCode : exitCodes.failed;
  }
}

/** The error code of the contract for what kept a service from starting. */
function codeOf(error: unknown): ErrorCode {
  if (isAppError(error)) return error.code;
  if (error instanceof ConfigError) return 'VALIDATION_FAILED';
  if (error instanceof DataFolderInUseError) return 'INVALID_STATE';
  return error instanceof AddressUnusableError && error.isTaken ? 'PORT_IN_USE' : 'START_FAILED';
}

/** On standard error, one line for each fault: the code, then a sentence for a person. */
export function sayWhyNot(error: unknown): void {
  const faults = error instanceof ConfigError ? error.faults : [error instanceof Error ? error.message : String(error)];
  for (const fault of faults) process.stderr.write(`llm-manager: ${codeOf(error)}: ${toTerminalText(fault)}\n`);
}

type Ends = Pick<LongRunning<unknown>, 'blame'> & { stop: () => void; force: (exitCode: number) => void };

function listen({ logger, signals }: Pick<ProcessLifeOptions<unknown>, 'logger' | 'signals'>, { stop, force, blame }: Ends): void {
  signals.handle({
    first: (signal) => {
      logger.info({ signal }, 'stopping: no new work, running answers get 30 s; the same signal again ends at once');
      stop();
    },
    second: () => force(interruptedExitCode),
  });
  // Nobody knows what such a fault has left half done: end, but take engines and database along.
  process.on('uncaughtException', (error) => {
    const plugin = blame(error);
    // What it has left half done is its own: nothing of ours was on the way.
    if (plugin !== null) {
      logger.error({ err: error, plugin }, 'a plug-in has let a fault go uncaught; the service goes on');
      return;
    }
    logger.error({ err: error }, 'an unexpected fault ends the service');
    process.stderr.write(`llm-manager: an unexpected fault ends the service: ${toTerminalText(String(error))}\n`);
    force(exitCodes.failed);
  });
}
