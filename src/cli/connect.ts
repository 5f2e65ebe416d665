import { ConfigError, type Config } from '../infrastructure/config/config.ts';
import { loadConfig } from '../infrastructure/config/load-config.ts';
import { dataFolderAt, type DataFolder } from '../infrastructure/data-folder/data-folder.ts';
import { findRunningServer, readAdminKey } from '../infrastructure/data-folder/folder-files.ts';
import { readLockHolder } from '../infrastructure/data-folder/lock-file.ts';
import { AppError } from '../shared/errors.ts';
import { ServiceUnreachable, wrongUsage } from './failure.ts';
import { textFlag, type Flags } from './flags.ts';
import { ServiceClient } from './service-client.ts';

export type Surroundings = { flags: Flags; env: Readonly<Record<string, string | undefined>>; cwd: string };

export function readConfig({ flags, env, cwd }: Surroundings): Config {
  try {
    return loadConfig({ flags, env, cwd });
  } catch (error) {
    if (error instanceof ConfigError) throw wrongUsage(error.faults.join('; '));
    throw error;
  }
}

function givenUrl({ flags, env }: Surroundings): URL | null {
  const text = textFlag(flags, 'url') ?? (env['LLM_MANAGER_URL'] || undefined);
  if (text === undefined) return null;
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) throw wrongUsage(`--url: must be an http:// or https:// address, not ${text}`);
  if (url.username || url.password) throw wrongUsage('--url: a key does not go into an address; use --key or LLM_MANAGER_API_KEY');
  return url;
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
}

async function keyFor(url: URL, surroundings: Surroundings, folder: () => DataFolder): Promise<string> {
  const given = textFlag(surroundings.flags, 'key') ?? (surroundings.env['LLM_MANAGER_API_KEY'] || undefined);
  if (given !== undefined) return given;
  // The key of the service on this machine is nobody else's business.
  if (!isLoopback(url)) throw new AppError('UNAUTHENTICATED', `No key for ${url.origin}: give --key or LLM_MANAGER_API_KEY.`);
  const { adminKeyFile } = folder();
  const key = await readAdminKey(folder()).catch((error: unknown) => {
    throw new AppError('UNAUTHENTICATED', `${adminKeyFile} cannot be read; give --key or LLM_MANAGER_API_KEY.`, { cause: error });
  });
  if (key === null) throw new AppError('UNAUTHENTICATED', `There is no ${adminKeyFile}; give --key or LLM_MANAGER_API_KEY.`);
  return key;
}

/** The service that a command line, the environment or the data folder names; null when none of them does. */
export async function findService(surroundings: Surroundings): Promise<ServiceClient | null> {
  const folder = (): DataFolder => dataFolderAt(readConfig(surroundings).data.dir);
  const given = givenUrl(surroundings);
  if (given) return new ServiceClient({ url: given.href, key: await keyFor(given, surroundings, folder) });
  const server = await findRunningServer(folder());
  if (!server) return null;
  const { flags, env } = surroundings;
  const key = textFlag(flags, 'key') ?? (env['LLM_MANAGER_API_KEY'] || undefined) ?? (await keyFor(new URL('http://127.0.0.1'), surroundings, folder));
  return new ServiceClient({ url: server.url, key });
}

/** The service that runs, or a failure that says what to do. */
export async function connectToService(surroundings: Surroundings): Promise<ServiceClient> {
  const client = await findService(surroundings);
  if (client) return client;
  const folder = dataFolderAt(readConfig(surroundings).data.dir);
  const holder = await readLockHolder(folder.lockFile);
  throw new ServiceUnreachable(
    holder ? `The service on ${folder.path} (process ${holder.pid}) is not ready yet, or is ending.` : `No service runs on ${folder.path}; start one with "llm-manager serve", or name one with --url.`,
  );
}
