import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../infrastructure/config/config.ts';
import { prepareDataFolder } from '../infrastructure/data-folder/data-folder.ts';
import { abortable } from '../shared/async.ts';
import { AppError } from '../shared/errors.ts';
import { textFlag, type Flags } from './flags.ts';

/** A service that lives as long as the command that started it. */
export type OwnService = {
  readonly pid: number;
  readonly logFile: string;
  stop(): Promise<void>;
};

export type OwnServiceOptions = { config: Config; flags: Flags; env: Readonly<Record<string, string | undefined>>; cwd: string };

/** A little longer than the service gives itself. */
const stopMs = 60_000;
const mainFile = fileURLToPath(new URL('../main.ts', import.meta.url));

function argumentsOf({ config, flags }: OwnServiceOptions): string[] {
  const configFile = textFlag(flags, 'config');
  return [
    'serve',
    '--ends-with-parent',
    '--data-dir',
    config.data.dir,
    ...(configFile === undefined ? [] : ['--config', configFile]),
    // Nobody else has to know its address, and another program may have the usual port.
    ...(config.origins['server.port']?.from === 'default' ? ['--port', '0'] : []),
  ];
}

async function whyItEnded(logFile: string): Promise<string> {
  const lines = (await readFile(logFile, 'utf8').catch(() => '')).trimEnd().split('\n');
  const said = lines.findLast((line) => line.startsWith('llm-manager: '));
  return said === undefined ? `The service ended before it was ready; ${logFile} has more.` : said.replace(/^llm-manager: (?:[A-Z_]+: )?/, '');
}

function isReadyMessage(message: unknown): boolean {
  return typeof message === 'object' && message !== null && 'type' in message && message.type === 'ready';
}

async function waitUntilReady(child: ChildProcess, logFile: string, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const ready = (async () => {
    for (;;) {
      const [message] = (await once(child, 'message', { signal: over.signal })) as unknown[];
      if (isReadyMessage(message)) return;
    }
  })();
  const ended = once(child, 'exit', { signal: over.signal }).then(async () => {
    throw new AppError('START_FAILED', await whyItEnded(logFile));
  });
  ready.catch(() => undefined);
  ended.catch(() => undefined);
  try {
    await abortable(Promise.race([ready, ended]), signal);
  } finally {
    over.abort();
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopMs);
  await exited;
  clearTimeout(timer);
}

/**
 * Starts a service on the configured data folder. It runs in a session of its own, so that a terminal's Ctrl-C
 * reaches the command alone, and ends by itself when the channel to the command closes, however that ended.
 */
export async function startOwnService(options: OwnServiceOptions, signal: AbortSignal): Promise<OwnService> {
  const folder = await prepareDataFolder(options.config.data.dir);
  const logFile = path.join(folder.logs, 'run.log');
  const log = await open(logFile, 'w', 0o600);
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', mainFile, ...argumentsOf(options)], {
    env: { ...options.env, LLM_MANAGER_ON_STOP: 'stop' },
    cwd: options.cwd,
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
    detached: true,
  });
  try {
    await waitUntilReady(child, logFile, signal);
  } catch (error) {
    await stop(child);
    throw error;
  } finally {
    await log.close();
  }
  return { pid: child.pid ?? -1, logFile, stop: () => stop(child) };
}
