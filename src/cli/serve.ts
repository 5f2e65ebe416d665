import { createApp, type StartedApp } from '../app.ts';
import { ConfigError, type Config } from '../infrastructure/config/config.ts';
import { loadConfig } from '../infrastructure/config/load-config.ts';
import { keepOutputHarmless, runUntilStopped, sayWhyNot } from '../infrastructure/lifecycle/process-life.ts';
import { StopSignals } from '../infrastructure/lifecycle/signals.ts';
import { createLogger } from '../infrastructure/logging/pino-logger.ts';
import { isSet, type Flags } from './flags.ts';
import { version } from './version.ts';

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

/** The same for programs, as one line among those of the log. */
function readyLine({ url, dataDir, adminKeyFile, databaseKind }: StartedApp): string {
  return `${JSON.stringify({ type: 'ready', url, pid: process.pid, version, data_dir: dataDir, admin_key_file: adminKeyFile, database: databaseKind })}\n`;
}

/** The command that started this service is its reason: without it, it is told to end like by anybody. */
function endWithParent(): void {
  const end = (): void => void process.emit('SIGTERM', 'SIGTERM');
  process.once('disconnect', end);
  // It was gone before anybody listened.
  if (!process.connected) end();
}

/** The service in the foreground, until a signal ends it; `signals` may have listened for a while already. */
export async function serve(flags: Flags, signals: StopSignals | null): Promise<number> {
  keepOutputHarmless();
  let config: Config;
  try {
    config = loadConfig({ flags, env: process.env, cwd: process.cwd() });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    sayWhyNot(error);
    return error.exitCode;
  }
  const isJson = isSet(flags, 'json');
  const logger = createLogger({ level: config.log.level, pretty: process.stdout.isTTY && !isJson, destination: process.stdout });
  const isOwned = isSet(flags, 'endsWithParent');
  const life = runUntilStopped(createApp({ config, logger, version }), {
    logger,
    signals: signals ?? new StopSignals(),
    onStarted: (started) => {
      if (isJson) process.stdout.write(readyLine(started));
      (isJson ? process.stderr : process.stdout).write(banner(started));
      if (isOwned && process.connected) process.send?.({ type: 'ready', url: started.url });
    },
  });
  if (isOwned) endWithParent();
  return await life;
}
