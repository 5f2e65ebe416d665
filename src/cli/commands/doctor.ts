import { ConfigError, type Config } from '../../infrastructure/config/config.ts';
import { loadConfig } from '../../infrastructure/config/load-config.ts';
import type { CommandContext, Handler } from '../context.ts';
import { fault, ok, type Check, type CheckStatus } from '../doctor/check.ts';
import { checkDaemons, checkLlamaServer } from '../doctor/engine-checks.ts';
import { checkDataFolder, checkDisks, checkEmbeddedDatabase, checkEngines, checkNode, checkService } from '../doctor/local-checks.ts';
import { checkReady, checkSites } from '../doctor/network-checks.ts';
import { checkPostgresql } from '../doctor/postgresql-check.ts';
import { checkRedis } from '../doctor/redis-check.ts';
import { exitCodes } from '../failure.ts';

const marks = { ok: 'ok     ', warning: 'warning', fault: 'FAULT  ' } as const satisfies Record<CheckStatus, string>;

function readConfiguration({ flags, env, cwd }: CommandContext): { config: Config | null; checks: Check[] } {
  try {
    return { config: loadConfig({ flags, env, cwd }), checks: [ok('configuration', 'is valid')] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { config: null, checks: error.faults.map((text) => fault('configuration', text, 'Correct it where it says; "llm-manager config" shows what counts.')) };
  }
}

async function checkDatabase(config: Config, signal: AbortSignal): Promise<Check> {
  return await (config.database.kind === 'embedded' ? checkEmbeddedDatabase(config) : checkPostgresql(config, signal));
}

async function checkAll(context: CommandContext): Promise<Check[]> {
  const { signal } = context;
  const { config, checks } = readConfiguration(context);
  if (!config) return [checkNode(), ...checks, await checkEngines()];
  const { checks: serviceChecks, server } = await checkService(config);
  const rest = await Promise.all([
    checkDataFolder(config),
    checkDisks(config),
    server ? checkReady(server, signal) : checkDatabase(config, signal),
    checkRedis(config, signal),
    checkEngines(),
    checkLlamaServer(config, context.env, signal),
    checkDaemons(config, signal),
    checkSites(config, signal),
  ]);
  return [checkNode(), ...checks, ...serviceChecks, ...rest.flat()];
}

/** Looks at everything that the service needs, and says of each fault what to do about it. */
export const doctor: Handler = async (context) => {
  const { output } = context;
  const checks = await checkAll(context);
  const faults = checks.filter(({ status }) => status === 'fault');
  output.data({ ok: faults.length === 0, checks });
  for (const { name, status, message, cure } of checks) {
    output.line(`${marks[status]} ${name.padEnd(26)} ${message}`);
    if (cure !== null) output.line(`${' '.repeat(8)}${' '.repeat(26)} -> ${cure}`);
  }
  output.line(faults.length === 0 ? 'No faults.' : `${faults.length} fault${faults.length === 1 ? '' : 's'}.`);
  return faults.length === 0 ? undefined : exitCodes.failed;
};
