import type { Endpoint } from '../../infrastructure/config/addresses.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { Secret } from '../../infrastructure/config/secret.ts';
import type { Setting } from '../../infrastructure/config/setting.ts';
import { settings } from '../../infrastructure/config/settings.ts';
import { readConfig } from '../connect.ts';
import type { Handler } from '../context.ts';
import { columns } from '../format.ts';

const allSettings: readonly Setting<unknown>[] = Object.values(settings);

function endpointText(endpoint: Endpoint): string {
  return endpoint.kind === 'socket' ? endpoint.path : JSON.stringify(endpoint);
}

/** What a setting came to, where the configuration holds it in another form than it was given. */
function special(config: Config): Readonly<Record<string, unknown>> {
  const { database, redis, docker, downloads, deployments } = config;
  return {
    'database.url': database.kind === 'postgresql' ? database.url : null,
    'redis.url': redis.kind === 'redis' ? redis.url : null,
    'docker.host': endpointText(docker.host),
    'downloads.clamd': downloads.clamd ? endpointText(downloads.clamd) : null,
    'deployments.llamaServer': deployments.llamaServer.kind === 'path' ? deployments.llamaServer.path : deployments.llamaServer.kind,
  };
}

function valueAt(config: Config, settingPath: string): unknown {
  const known = special(config);
  if (settingPath in known) return known[settingPath];
  let value: unknown = config;
  for (const part of settingPath.split('.')) value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[part] : undefined;
  return value;
}

function shown(value: unknown): string {
  if (value === null) return 'none';
  if (value instanceof Secret) return value.toString();
  if (Array.isArray(value)) return value.length > 0 ? value.join(', ') : 'none';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** The effective configuration: each value with the place that it came from, secrets left out. */
export const config: Handler = async (context) => {
  const { output } = context;
  const effective = readConfig(context);
  const rows = allSettings
    .map(({ path, env }) => ({ path, env: env ?? null, value: valueAt(effective, path), origin: effective.origins[path] }))
    // The cache folder, which is shown, is all that is left of its home.
    .filter(({ value }) => value !== undefined);
  output.data({ settings: rows.map(({ path, env, value, origin }) => ({ path, env, value, from: origin?.from ?? 'default', name: origin?.name ?? null })) });
  columns(output, ['SETTING', 'VALUE', 'FROM', 'BY'], rows.map(({ path, env, value, origin }) => [path, shown(value), origin?.from ?? 'default', origin?.from === 'default' ? (env ?? '-') : (origin?.name ?? '-')]));
  await Promise.resolve(undefined);
};
