/** The process: command line in, exit code out. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { createApp, type App, type StartedApp } from './app.ts';
import { ConfigError, type Config } from './infrastructure/config/config.ts';
import { loadConfig } from './infrastructure/config/load-config.ts';
import { interruptedExitCode, onStopSignals } from './infrastructure/lifecycle/signals.ts';
import { createLogger } from './infrastructure/logging/pino-logger.ts';
import { toTerminalText } from './infrastructure/logging/safe-text.ts';
import { isAbort, StopReason } from './shared/abort.ts';
import type { Logger } from './shared/logger.ts';

const exitCodes = { done: 0, failed: 1, usage: 2 } as const;

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };

function banner({ url, dataDir, adminKeyFile, databaseKind }: StartedApp): string {
  const socket = url.replace(/^http/, 'ws');
  return [
    `llm-manager ${version} is ready`,
    `  GraphiQL    ${url}/graphql`,
    `  REST docs   ${url}/api/docs`,
    `  WebSocket   ${socket}/graphql (graphql-transport-ws), ${socket}/ws/...`,
    `  database    ${databaseKind}`,
    `  data        ${dataDir}`,
    `  admin key   ${adminKeyFile}`,
    '',
  ].join('\n');
}

/** Accepted from the first version on, so that a configuration for a later one starts; but never silently. */
function warnOfUnused(config: Config, logger: Logger): void {
  const unused = [
    ...(config.redis.kind === 'redis' ? ['REDIS_URL'] : []),
    ...(config.plugins.length > 0 ? ['LLM_MANAGER_PLUGINS'] : []),
    ...(config.downloads.clamd ? ['LLM_MANAGER_CLAMD'] : []),
    ...(config.deployments.llamaServer.kind === 'path' ? ['LLM_MANAGER_LLAMA_SERVER'] : []),
    ...(config.deployments.onStop === 'keep' ? ['LLM_MANAGER_ON_STOP=keep'] : []),
  ];
  for (const name of unused) logger.warn({ name }, 'is set, but this version does not use it yet');
}

async function run(app: App, logger: Logger): Promise<number> {
  const stopping = new AbortController();
  const { promise: stopped, resolve } = Promise.withResolvers<undefined>();
  onStopSignals(
    (signal) => {
      logger.info({ signal }, 'stopping: no new work, running answers get 30 s; the same signal again ends at once');
      stopping.abort(new StopReason('shutdown'));
      resolve(undefined);
    },
    () => process.exit(interruptedExitCode),
  );
  try {
    const started = await app.start(stopping.signal);
    process.stdout.write(banner(started));
    await stopped;
    return (await app.stop()) ? exitCodes.done : exitCodes.failed;
  } catch (error) {
    await app.stop();
    if (stopping.signal.aborted && isAbort(error)) return exitCodes.done;
    logger.debug({ err: error }, 'start failed');
    process.stderr.write(`llm-manager: ${toTerminalText(error instanceof Error ? error.message : String(error))}\n`);
    return exitCodes.failed;
  }
}

async function serve(flags: Record<string, unknown>): Promise<number> {
  let config: Config;
  try {
    config = loadConfig({ flags, env: process.env, cwd: process.cwd() });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const fault of error.faults) process.stderr.write(`llm-manager: ${toTerminalText(fault)}\n`);
    return error.exitCode;
  }
  const logger = createLogger({ level: config.log.level, pretty: process.stdout.isTTY, destination: process.stdout });
  warnOfUnused(config, logger);
  return await run(createApp({ config, logger, version }), logger);
}

function buildProgram(onExit: (code: number) => void): Command {
  const program = new Command('llm-manager')
    .description('Finds, downloads, runs and talks to large language models on your own machines.')
    .version(`llm-manager ${version}`, '--version')
    .exitOverride();
  program
    .command('serve')
    .description('the service in the foreground')
    .option('--host <address>', 'address to listen on')
    .option('--port <port>', 'port to listen on; 0 = any free one')
    .option('--data-dir <folder>', 'where everything is kept')
    .option('--config <file>', 'YAML file with settings')
    .action(async (flags: Record<string, unknown>) => onExit(await serve(flags)));
  return program;
}

async function main(): Promise<number> {
  let code: number = exitCodes.done;
  try {
    await buildProgram((given) => (code = given)).parseAsync(process.argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help and version end here too, with 0.
    return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  }
  return code;
}

// Not process.exitCode alone: a handle that somebody forgot must not keep a stopped service alive.
process.exit(await main());
